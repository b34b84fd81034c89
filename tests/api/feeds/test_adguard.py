"""AdGuard's own parser reads the lists for AdGuard Home and Pi-hole: every line is what it is meant to be."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from feed_programs import BLOCKED, BLOCKED_WIDE, PASSED, shipped_names
from installation import snapshot_of

from api.feeds import FeedFormat, render

NPM = Path(__file__).parents[2] / "npm"
ANCHORS = {"||": r"(?:.*\.)?", "|": ""}  # adguard.com/kb, "Basic rule syntax": a name or any below it; the beginning

NODE = shutil.which("node") or ""

pytestmark = pytest.mark.skipif(
    not NODE or not (NPM / "node_modules/@adguard/agtree").exists(), reason="needs Node.js, and npm ci in tests/npm"
)


def parsed(feed_format: FeedFormat) -> list[dict[str, Any]]:
    octets = render(snapshot_of(shipped_names()), feed_format)
    done = subprocess.run(
        [NODE, "adguard_rules.mjs"], cwd=NPM, input=octets, check=True, capture_output=True, timeout=60
    )
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["line"] for row in rows] == octets.decode().splitlines()
    return rows


def matches(patterns: Iterable[str], name: str) -> bool:
    """Match a host as the rules' patterns say; `^` ends it."""
    for pattern in patterns:
        found = re.fullmatch(r"(\|{0,2})([a-z0-9._-]+)(\^?)", pattern)
        assert found, pattern
        if re.fullmatch(ANCHORS.get(found[1], "") + re.escape(found[2]), name):
            return True
    return False


def test_the_list_for_adguard_home() -> None:
    rows = parsed(FeedFormat.ADGUARD)
    rules = [row for row in rows if row["category"] != "Comment"]
    assert {(row["category"], row["type"], row["hasModifiers"]) for row in rules} == {("Network", "NetworkRule", False)}
    exceptions = [row["pattern"] for row in rules if row["exception"]]
    blocking = [row["pattern"] for row in rules if not row["exception"]]
    judged = {
        name: matches(blocking, name) and not matches(exceptions, name) for name in (*BLOCKED, *BLOCKED_WIDE, *PASSED)
    }
    assert judged == dict.fromkeys((*BLOCKED, *BLOCKED_WIDE), True) | dict.fromkeys(PASSED, False)


def test_the_list_for_pi_hole() -> None:
    rules = [row for row in parsed(FeedFormat.PI_HOLE) if row["category"] != "Comment"]
    assert {(row["category"], row["type"], row["exception"]) for row in rules} == {("Network", "NetworkRule", False)}
    patterns = [row["pattern"] for row in rules]
    assert {name: matches(patterns, name) for name in (*BLOCKED, *PASSED)} == dict.fromkeys(
        BLOCKED, True
    ) | dict.fromkeys(PASSED, False)
