"""Every trap of the field: what hides a tunnel, what only looks like one, and what the program makes of each."""

from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import pytest
import tricks
from crafted import write_pcap
from observations import NOW_NS
from screened import SCREENS
from trap import Trap, Verdict
from traps import DETECTED
from traps_quiet import QUIET
from traps_unseen import UNSEEN

import sensor.capture.offline.file
from rules.catalogue.catalogue import load_catalogue
from rules.policy.reader import parse_policy
from rules.policy.ruleset import Ruleset
from sensor.capture.offline.file import open_capture
from sensor.capture.offline.heads import IS_COMPILED
from sensor.capture.screening.screen import Screen
from sensor.detection.detect import Detector
from sensor.packet import Packet
from sensor.pipeline import Pipeline

DETECTION = Path(__file__).parents[1] / "docs" / "detection.md"
COMPILED = pytest.mark.skipif(not IS_COMPILED, reason="there was no compiler at install")
EVERY = (*DETECTED, *UNSEEN, *QUIET)
HEADINGS = (("## Evasions: detected, how", DETECTED), ("## Cannot be seen, why", UNSEEN), ("## No alarm, why", QUIET))


@cache
def ruleset(pin: str) -> Ruleset:
    text = f'[[sanctioned]]\ndomain = "{tricks.SANCTIONED}"\nservice = "ngrok"\nowner = "o"\nreason = "r"\n{pin}\n'
    catalogue = load_catalogue()
    return Ruleset(catalogue, parse_policy(text, "policy.toml", catalogue, NOW_NS))


def verdicts(batches: Iterable[list[Packet]], pin: str = "", screen: Screen | None = None) -> list[Verdict]:
    """What is said of each flow and look-up in the end."""
    detector = Detector(Pipeline(screen=screen), lambda: ruleset(pin))
    found = [row for packets in batches for row in detector.feed(packets)] + detector.flush()
    last = {row.observation.key: row.verdict for row in found}
    return [(row.outcome.value, row.service, row.role.value) for row in last.values()]


def heads(path: Path, screen: Screen | None = None) -> Iterator[list[Packet]]:
    """What is handed on of a file: the heads of its flows, with a screen of those that something may come of."""
    with open_capture(str(path), heads_only=True, screen=screen) as source:
        while (packets := source.read()) is not None:
            yield packets


@pytest.mark.parametrize("trap", [pytest.param(row, id=row.name) for row in EVERY])
def test_a_trap_gives_the_verdicts_that_the_documentation_says(trap: Trap) -> None:
    found = verdicts([trap.packets()], trap.pin)
    assert set(found) == trap.expected
    assert trap.verdicts in (0, len(found))


@pytest.mark.parametrize("is_compiled", [pytest.param(True, marks=COMPILED, id="compiled"), False])
@pytest.mark.parametrize("trap", [pytest.param(row, id=row.name) for row in EVERY])
def test_it_gives_the_same_where_only_heads_of_flows_are_read(
    trap: Trap, is_compiled: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sensor.capture.offline.file, "IS_COMPILED", is_compiled)
    write_pcap(tmp_path / "trap.pcap", trap.packets())
    found = verdicts(heads(tmp_path / "trap.pcap"), trap.pin)
    assert set(found) == trap.expected
    assert trap.verdicts in (0, len(found))


@pytest.mark.parametrize("new_screen", SCREENS)
@pytest.mark.parametrize("trap", [pytest.param(row, id=row.name) for row in EVERY])
def test_it_gives_the_same_behind_a_screen(trap: Trap, new_screen: type[Screen], tmp_path: Path) -> None:
    write_pcap(tmp_path / "trap.pcap", trap.packets())
    screen = new_screen()
    found = verdicts(heads(tmp_path / "trap.pcap", screen), trap.pin, screen)
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
