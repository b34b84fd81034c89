from collections.abc import Callable
from pathlib import Path

from frames import read_packets
from msgspec.structs import replace
from observations import hello

from rules.catalogue.catalogue import load_catalogue
from rules.policy.policy import Policy
from rules.policy.ruleset import Ruleset
from rules.values.event import Event, Origin
from rules.values.verdict import UNKNOWN, Role
from sensor.detect import Detector
from sensor.detection import Detection
from sensor.gathered import Gathered
from sensor.pipeline import Limits, Pipeline
from sensor.report import Reporter

CAPTURES = Path(__file__).parents[2] / "pcaps"
PACKETS = read_packets(str(CAPTURES / "ngrok-py-default.pcap"))
LOCALTUNNEL = read_packets(str(CAPTURES / "localtunnel.pcap"))
LISTED = "connect.ngrok-agent.com"
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


def test_however_long_what_is_found_is_gathered_events_say_and_count_the_same() -> None:
    """A flow of this agent is unclear until it answers a request, which reports may precede or not."""
    found = detector()
    batches = [found.feed([packet]) for packet in LOCALTUNNEL]
    one_by_one = events_of(found, batches, 1)
    for batches_a_report in (10, 50, len(batches)):
        assert events_of(found, batches, batches_a_report) == one_by_one
    assert ("localtunnel", Role.AGENT, "labid.localtunnel.me", 27) in {row[:4] for row in one_by_one}


def events_of(found: Detector, batches: list[list[Detection]], batches_a_report: int) -> set[tuple[object, ...]]:
    """What the events say in the end, and count, if so many batches are gathered for each report."""
    reporter, events = Reporter(Origin("s")), {}
    for at in range(0, len(batches), batches_a_report):
        gathered = Gathered(found.pipeline)
        for batch in batches[at : at + batches_a_report]:
            gathered.add(batch, NOW_NS)
        reports = [report for each, at_ns in gathered.take() for report in reporter.take([each], at_ns)]
        events.update({event.event_id: event for event in reports})
    events.update({event.event_id: event for event in reporter.flush()})
    return {
        (row.service, row.role, row.dst_name, row.count, row.kind, row.state, row.reasons, row.bytes_out, row.bytes_in)
        for row in events.values()
    }


def test_what_was_found_last_of_any_flow_leaves_last() -> None:
    gathered = Gathered(Pipeline())
    first, other = (Detection(hello(LISTED, key=key), UNKNOWN) for key in (1, 2))
    again = Detection(replace(first.observation, revision=2), UNKNOWN)
    for batches in ([[first, other], [again]], [[first, other, again]]):
        for batch in batches:
            gathered.add(batch, NOW_NS)
        assert [found for found, _ in gathered.take()] == [other, again]


def test_where_no_packets_are_kept_reports_leave_without() -> None:
    found = Detector(Pipeline(Limits(kept_octets=0)), lambda: RULES)
    gathered = Gathered(found.pipeline)
    gathered.add(found.feed(PACKETS), NOW_NS)
    reports = [row for each, at_ns in gathered.take() for row in reporter(gathered.with_packets).take([each], at_ns)]
    assert reports
    assert not any(event.evidence for event in reports)
