"""Every trap of the field: what hides a tunnel, what only looks like one, and what the program makes of each."""

from functools import cache
from pathlib import Path

import pytest
import tricks
from observations import NOW_NS
from trap import Trap, Verdict
from traps import DETECTED
from traps_quiet import QUIET
from traps_unseen import UNSEEN

from rules.catalogue import load_catalogue
from rules.policy_reader import parse_policy
from rules.ruleset import Ruleset
from sensor.detect import Detector
from sensor.packet import Packet
from sensor.pipeline import Pipeline

DETECTION = Path(__file__).parents[1] / "docs" / "detection.md"
EVERY = (*DETECTED, *UNSEEN, *QUIET)
HEADINGS = (("## Evasions: detected, how", DETECTED), ("## Cannot be seen, why", UNSEEN), ("## No alarm, why", QUIET))


@cache
def ruleset(pin: str) -> Ruleset:
    text = f'[[sanctioned]]\ndomain = "{tricks.SANCTIONED}"\nservice = "ngrok"\nowner = "o"\nreason = "r"\n{pin}\n'
    catalogue = load_catalogue()
    return Ruleset(catalogue, parse_policy(text, "policy.toml", catalogue, NOW_NS))


def verdicts(packets: list[Packet], pin: str = "") -> list[Verdict]:
    """What is said of each flow and look-up in the end."""
    detector = Detector(Pipeline(), lambda: ruleset(pin))
    found = detector.feed(packets) + detector.flush()
    last = {row.observation.key: row.verdict for row in found}
    return [(row.outcome.value, row.service, row.role.value) for row in last.values()]


@pytest.mark.parametrize("trap", [pytest.param(row, id=row.name) for row in EVERY])
def test_a_trap_gives_the_verdicts_that_the_documentation_says(trap: Trap) -> None:
    found = verdicts(trap.packets(), trap.pin)
    assert set(found) == trap.expected
    assert trap.verdicts in (0, len(found))


@pytest.mark.parametrize(("heading", "traps"), HEADINGS)
def test_the_documentation_lists_every_trap_and_no_other(heading: str, traps: tuple[Trap, ...]) -> None:
    section = DETECTION.read_text(encoding="utf-8").split(f"{heading}\n", 1)[1].split("\n## ", 1)[0]
    rows = [line for line in section.splitlines() if line.startswith("| ")][1:]
    assert rows == [f"| {trap.name} | {trap.explanation} |" for trap in traps]


def test_fragments_that_contradict_each_other_are_counted() -> None:
    pipeline = Pipeline()
    pipeline.feed_batch(tricks.overlapping_fragments())
    assert sum(pipeline.counters.malformed.values()) == 1
