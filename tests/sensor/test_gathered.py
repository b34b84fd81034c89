from collections.abc import Callable
from pathlib import Path

from frames import read_packets
from msgspec.structs import replace

from rules.catalogue import load_catalogue
from rules.event import Event, Origin
from rules.policy import Policy
from rules.ruleset import Ruleset
from sensor.detect import Detector
from sensor.detection import Detection
from sensor.gathered import Gathered
from sensor.pipeline import Limits, Pipeline
from sensor.report import Reporter

PACKETS = read_packets(str(Path(__file__).parents[2] / "pcaps" / "ngrok-py-default.pcap"))
RULES = Ruleset(load_catalogue(), Policy())


def reported(detector: Detector, completed: Callable[[Event, Detection], Event]) -> list[Event]:
    """All reports of a recording that is read packet by packet, and then what was counted since."""
    reporter = Reporter(Origin("s"), make_id=lambda found: str(found.observation.key), completed=completed)
    reports: list[Event] = []
    for packet in PACKETS:
        reports += reporter.take(detector.feed([packet]), packet.ts_ns)
    return [*reports, *reporter.flush()]


def test_of_each_event_the_newest_report_leaves_with_the_packets_of_its_newest_statement() -> None:
    at_once = Detector(Pipeline(), lambda: RULES)
    apart = reported(at_once, lambda event, found: replace(event, evidence=at_once.evidence(found)))
    packets = {event.event_id: event.evidence for event in apart if event.evidence}
    newest = {event.event_id: replace(event, evidence=packets[event.event_id]) for event in apart}
    assert len(apart) > len(newest) > 1
    pipeline = Pipeline()
    gathered = Gathered(pipeline)
    gathered.add(reported(Detector(pipeline, lambda: RULES), gathered.note_packets))
    assert len(gathered) == len(newest)
    assert gathered.take() == list(newest.values())
    assert gathered.take() == []


def test_where_no_packets_are_kept_reports_leave_without() -> None:
    pipeline = Pipeline(Limits(kept_octets=0))
    gathered = Gathered(pipeline)
    gathered.add(reported(Detector(pipeline, lambda: RULES), gathered.note_packets))
    assert len(gathered)
    assert not any(event.evidence for event in gathered.take())
