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
NOW_NS = PACKETS[-1].ts_ns


def detector() -> Detector:
    return Detector(Pipeline(), lambda: RULES)


def reporter(completed: Callable[[Event, Detection], Event]) -> Reporter:
    return Reporter(Origin("s"), make_id=lambda found: str(found.observation.key), completed=completed)


def test_what_leaves_together_says_what_reports_one_by_one_say_in_the_end() -> None:
    single, apart = detector(), []
    one_by_one = reporter(lambda event, found: replace(event, evidence=single.evidence(found)))
    for packet in PACKETS:
        apart += one_by_one.take(single.feed([packet]), NOW_NS)
    packets = {event.event_id: event.evidence for event in apart if event.evidence}
    newest = {event.event_id: replace(event, evidence=packets[event.event_id]) for event in apart}
    assert len(apart) > len(newest) > 1
    whole = detector()
    gathered = Gathered(whole.pipeline)
    together = reporter(gathered.with_packets)
    for packet in PACKETS:
        gathered.add(whole.feed([packet]), NOW_NS)
    reports = [report for found, at_ns in gathered.take() for report in together.take([found], at_ns)]
    assert [replace(event, revision=1, last_seen_ns=0) for event in reports] == [
        replace(event, revision=1, last_seen_ns=0) for event in newest.values()
    ]
    assert len(reports) < len(apart)
    assert gathered.take() == []


def test_where_no_packets_are_kept_reports_leave_without() -> None:
    found = Detector(Pipeline(Limits(kept_octets=0)), lambda: RULES)
    gathered = Gathered(found.pipeline)
    gathered.add(found.feed(PACKETS), NOW_NS)
    reports = [row for each, at_ns in gathered.take() for row in reporter(gathered.with_packets).take([each], at_ns)]
    assert reports
    assert not any(event.evidence for event in reports)
