"""The `nft` program: our table loaded, counted and taken away."""

import subprocess
from dataclasses import dataclass
from typing import Any

import msgspec

from molecatcher.enforce.ruleset import TABLE, make_removal
from molecatcher.errors import SetupError

TIMEOUT_S = 60


@dataclass(frozen=True, slots=True)
class Status:
    """What our table holds and how much it refused since it was made."""

    prefixes: int
    refused_packets: int
    refused_octets: int


def check(ruleset: str) -> None:
    """Let nft read `ruleset` without loading it.

    Raises:
        SetupError: nft is missing, may not be used, or refuses it.
    """
    _nft("--check", "--file", "-", given=ruleset)


def load(ruleset: str) -> None:
    """Load `ruleset`, all of it or nothing; raises as `check`."""
    _nft("--file", "-", given=ruleset)


def remove() -> bool:
    """Take our table away and tell whether there was one; raises as `check`."""
    was_there = is_loaded()
    _nft("--file", "-", given=make_removal())
    return was_there


def is_loaded() -> bool:
    """Tell whether our table is there; raises as `check`."""
    tables = _objects(_nft("--json", "list", "tables")).get("table", [])
    return any(row["name"] == TABLE and row["family"] == "inet" for row in tables)


def status() -> Status | None:
    """Return what our table holds, None when it is not there; raises as `check`."""
    if not is_loaded():
        return None
    found = _objects(_nft("--json", "list", "table", "inet", TABLE))
    counters = found.get("counter", [])
    return Status(
        prefixes=sum(len(row.get("elem", [])) for row in found.get("set", [])),
        refused_packets=sum(row["packets"] for row in counters),
        refused_octets=sum(row["bytes"] for row in counters),
    )


def _objects(text: str) -> dict[str, list[dict[str, Any]]]:
    """Return nft's JSON objects by kind (libnftables-json(5))."""
    found: dict[str, list[dict[str, Any]]] = {}
    for row in msgspec.json.decode(text)["nftables"]:
        for kind, value in row.items():
            found.setdefault(kind, []).append(value)
    return found


def _nft(*arguments: str, given: str = "") -> str:
    try:
        done = subprocess.run(
            ["nft", *arguments], input=given, text=True, capture_output=True, check=False, timeout=TIMEOUT_S
        )
    except FileNotFoundError:
        raise SetupError("the program nft is missing: apt-get install nftables") from None
    except subprocess.TimeoutExpired:
        raise SetupError(f"nft did not answer within {TIMEOUT_S} seconds") from None
    if done.returncode != 0:
        said = (done.stderr.strip().splitlines() or ["no reason given"])[0]
        advice = "; run as root or with CAP_NET_ADMIN" if "not permitted" in said else ""
        raise SetupError(f"nft refused: {said}{advice}")
    return done.stdout
