import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from observations import NOW_NS, flow, hello, lookup

from rules.catalogue.catalogue import load_catalogue
from rules.classification.classify import classify
from rules.policy.policy import Policy
from rules.values.event import Event, Origin
from rules.values.observation import Evidence, FlowState, Observation, Refusal, Traffic
from rules.values.verdict import Role
from sensor.detection.detection import Detection
from sensor.reporting.losses import Losses
from sensor.reporting.report import Reporter

CATALOGUE = load_catalogue()
S = 1_000_000_000
LISTED = "connect.ngrok-agent.com"
NAMES = (LISTED, "tunnel.us.ngrok.com", "connect.us.ngrok-agent.com")


def detect(observation: Observation) -> Detection:
    return Detection(observation, classify(observation, Policy(), CATALOGUE))


def stored(reports: list[Event]) -> dict[str, Event]:
    """What a store holds that lets the higher revision win."""
    rows: dict[str, Event] = {}
    for report in reports:
        if report.event_id not in rows or report.revision > rows[report.event_id].revision:
            rows[report.event_id] = report
    return rows


def test_the_first_sighting_is_reported_at_once() -> None:
    (event,) = Reporter(Origin("s")).take([detect(hello(LISTED))], NOW_NS)
    assert (event.count, event.revision, event.dst_name) == (1, 1, LISTED)
    assert event.event_id[14] == "7"


def test_repeats_are_counted_and_reported_when_the_window_ends() -> None:
    reporter = Reporter(Origin("s"), window_ns=60 * S)
    (first,) = reporter.take([detect(hello(LISTED, key=1))], NOW_NS)
    for key in range(2, 12):
        assert reporter.take([detect(hello(LISTED, key=key))], NOW_NS + key * S) == []
    assert reporter.expire(NOW_NS + 59 * S) == []
    (last,) = reporter.expire(NOW_NS + 60 * S)
    assert (last.event_id, last.count, last.revision) == (first.event_id, 11, 2)
    assert last.last_seen_ns == NOW_NS + 11 * S
    assert reporter.expire(NOW_NS + 600 * S) == []


def test_after_the_window_a_new_event_begins() -> None:
    reporter = Reporter(Origin("s"), window_ns=60 * S)
    (first,) = reporter.take([detect(hello(LISTED, key=1))], NOW_NS)
    reporter.expire(NOW_NS + 60 * S)
    (second,) = reporter.take([detect(hello(LISTED, key=2))], NOW_NS + 61 * S)
    assert second.event_id != first.event_id


def test_a_changed_state_is_news_even_after_the_window() -> None:
    reporter = Reporter(Origin("s"), window_ns=60 * S)
    attempt = hello(LISTED)
    (first,) = reporter.take([detect(attempt)], NOW_NS)
    reporter.expire(NOW_NS + 60 * S)
    live = msgspec.structs.replace(attempt, revision=2, state=FlowState.LIVE)
    (second,) = reporter.take([detect(live)], NOW_NS + 90 * S)
    assert (second.event_id, second.revision, second.state) == (first.event_id, 2, FlowState.LIVE)
    assert second.count == 1


def test_an_event_has_the_strongest_role_that_a_flow_of_it_shows() -> None:
    by_name = (Evidence.HTTP_HOST, "labid.localtunnel.me")
    unclear, agent = flow(by_name), flow(by_name, (Evidence.PROTOCOL, "reverse-http"))
    reporter = Reporter(Origin("s"))
    (first,) = reporter.take([detect(unclear)], NOW_NS)
    (second,) = reporter.take([detect(msgspec.structs.replace(agent, revision=2))], NOW_NS)
    assert reporter.take([detect(msgspec.structs.replace(unclear, key=2))], NOW_NS) == []
    (last,) = reporter.flush()
    assert [row.role for row in (first, second, last)] == [Role.UNCLEAR, Role.AGENT, Role.AGENT]
    assert (last.event_id, last.reasons, last.count) == (first.event_id, second.reasons, 2)


@pytest.mark.parametrize(
    ("state", "refusal"), [(FlowState.LIVE, None), (FlowState.BLOCKED, Refusal.RESET), (FlowState.BLOCKED, None)]
)
def test_a_stronger_role_of_a_flow_that_is_only_attempted_leaves_what_became_of_others(
    state: FlowState, refusal: Refusal | None
) -> None:
    by_name = (Evidence.HTTP_HOST, "labid.localtunnel.me")
    unclear, agent = flow(by_name), flow(by_name, (Evidence.PROTOCOL, "reverse-http"), key=2)
    reporter = Reporter(Origin("s"))
    reporter.take([detect(msgspec.structs.replace(unclear, state=state, refusal=refusal))], NOW_NS)
    (event,) = reporter.take([detect(agent)], NOW_NS)
    assert (event.role, event.state, event.refusal, event.count) == (Role.AGENT, state, refusal, 2)
    others = {FlowState.LIVE: FlowState.BLOCKED, FlowState.BLOCKED: FlowState.LIVE}
    (news,) = reporter.take([detect(msgspec.structs.replace(agent, revision=2, state=others[state]))], NOW_NS)
    assert (news.role, news.state, news.refusal) == (Role.AGENT, others[state], None)


def test_a_single_flow_may_turn_out_to_have_a_weaker_role() -> None:
    by_name = (Evidence.HTTP_HOST, "labid.localtunnel.me")
    agent, unclear = flow(by_name, (Evidence.PROTOCOL, "reverse-http")), flow(by_name)
    reporter = Reporter(Origin("s"))
    reports = reporter.take([detect(agent), detect(msgspec.structs.replace(unclear, revision=2))], NOW_NS)
    assert [row.role for row in reports] == [Role.AGENT, Role.UNCLEAR]


def test_sources_and_names_are_events_of_their_own() -> None:
    observations = [hello(LISTED, key=1), hello(LISTED, key=2, src="10.9.9.9"), lookup(LISTED, key=3)]
    assert len(Reporter(Origin("s")).take(map(detect, observations), NOW_NS)) == 3


def test_a_full_table_reports_its_oldest_window_and_counts_it() -> None:
    reporter = Reporter(Origin("s"), max_windows=2)
    reporter.take([detect(hello(LISTED, key=1)), detect(hello(LISTED, key=2))], NOW_NS)
    others = [detect(hello(LISTED, key=key, src=f"10.9.9.{key}")) for key in (3, 4)]
    reports = reporter.take(others, NOW_NS)
    assert reporter.windows_evicted == 1
    assert [(row.count, row.revision) for row in reports] == [(1, 1), (2, 2), (1, 1)]
    assert len(reporter._windows) == len(reporter._by_observation) == 2


def test_an_event_is_reported_again_when_packets_were_lost_while_its_window_was_open() -> None:
    losses = Losses()
    reporter = Reporter(Origin("s"), window_ns=60 * S, losses=losses)
    (first,) = reporter.take([detect(hello(LISTED))], NOW_NS)
    losses.note(7, NOW_NS + 30 * S)
    (last,) = reporter.expire(NOW_NS + 60 * S)
    assert (last.event_id, last.revision, last.count, last.sensor_loss) == (first.event_id, 2, 1, 7)


def test_what_was_lost_before_the_window_is_no_news_at_its_end() -> None:
    losses = Losses()
    reporter = Reporter(Origin("s"), window_ns=60 * S, losses=losses)
    losses.note(7, NOW_NS - 30 * S)
    (first,) = reporter.take([detect(hello(LISTED))], NOW_NS)
    assert first.sensor_loss == 7
    assert reporter.expire(NOW_NS + 60 * S) == []


@given(st.lists(st.tuples(st.integers(1, 5), st.integers(0, 40)), min_size=1, max_size=60))
def test_every_observation_is_counted_exactly_once(sightings: list[tuple[int, int]]) -> None:
    reporter, reports, now_ns = Reporter(Origin("s"), window_ns=60 * S), [], NOW_NS
    for key, (source, pause) in enumerate(sightings):
        now_ns += pause * S
        reports += reporter.expire(now_ns)
        reports += reporter.take([detect(hello(LISTED, key=key, src=f"10.0.0.{source}"))], now_ns)
    reports += reporter.flush()
    assert sum(event.count for event in stored(reports).values()) == len(sightings)


@given(st.lists(st.tuples(st.integers(1, 6), st.sampled_from(NAMES), st.integers(0, 40)), min_size=1, max_size=60))
def test_every_flow_is_counted_once_under_the_name_that_it_had_last(sightings: list[tuple[int, str, int]]) -> None:
    reporter, reports, now_ns = Reporter(Origin("s"), window_ns=60 * S), [], NOW_NS
    for revision, (key, name, pause) in enumerate(sightings):
        now_ns += pause * S
        reports += reporter.expire(now_ns)
        seen = msgspec.structs.replace(hello(name, key=key), revision=revision, traffic=Traffic(revision, 0, 1, now_ns))
        reports += reporter.take([detect(seen)], now_ns)
    reports += reporter.flush()
    last = {key: (name, revision) for revision, (key, name, _) in enumerate(sightings)}
    for name in NAMES:
        events = [event for event in stored(reports).values() if event.dst_name == name]
        octets = [revision for named, revision in last.values() if named == name]
        assert (sum(row.count for row in events), sum(row.bytes_out for row in events)) == (len(octets), sum(octets))


def carried(observation: Observation, octets: int, packets: int, until_ns: int) -> Detection:
    return detect(msgspec.structs.replace(observation, traffic=Traffic(octets, 10 * octets, packets, until_ns)))


def test_an_event_sums_what_its_flows_carry() -> None:
    reporter = Reporter(Origin("s"))
    (first,) = reporter.take([carried(hello(LISTED, key=1), 100, 2, NOW_NS + S)], NOW_NS)
    assert (first.bytes_out, first.bytes_in, first.packets, first.duration_ms) == (100, 1000, 2, 1000)
    reporter.take([carried(hello(LISTED, key=2), 50, 1, NOW_NS + 3 * S)], NOW_NS)
    reporter.take([carried(hello(LISTED, key=1), 130, 4, NOW_NS + 2 * S)], NOW_NS)
    (last,) = reporter.flush()
    assert (last.bytes_out, last.bytes_in, last.packets, last.duration_ms, last.count) == (180, 1800, 5, 3000, 2)


def test_what_lives_beyond_the_window_stays_on_its_event() -> None:
    reporter = Reporter(Origin("s"), window_ns=60 * S, update_ns=30 * S)
    tunnel = hello(LISTED)
    (first,) = reporter.take([carried(tunnel, 1, 1, NOW_NS)], NOW_NS)
    reports = []
    for second in range(1, 3600):
        now_ns = NOW_NS + second * S
        reporter.update([carried(tunnel, second, second, now_ns)])
        reports += reporter.expire(now_ns)
    assert {row.event_id for row in reports} == {first.event_id}
    assert [row.revision for row in reports] == list(range(2, len(reports) + 2))
    assert 3600 // 30 - 2 <= len(reports) <= 3600 // 30 + 1  # the window's end may add one
    (last,) = reporter.flush()
    assert (last.bytes_out, last.duration_ms, last.last_seen_ns) == (3599, 3_599_000, NOW_NS + 3599 * S)
    assert (last.count, reporter.flush()) == (1, [])


def test_a_quiet_tunnel_is_not_reported_again() -> None:
    reporter = Reporter(Origin("s"))
    reporter.take([carried(hello(LISTED), 1, 1, NOW_NS)], NOW_NS)
    assert [row for second in range(600) for row in reporter.expire(NOW_NS + second * S)] == []


def test_a_flow_that_was_forgotten_is_counted() -> None:
    reporter = Reporter(Origin("s"), max_windows=2)
    flows = [hello(LISTED, key=key, src=f"10.9.9.{key}") for key in (1, 2, 3)]
    reporter.take([carried(flow, 1, 1, NOW_NS) for flow in flows], NOW_NS)
    assert reporter.sightings_evicted == 1
    reporter.update([carried(flow, 5, 5, NOW_NS) for flow in flows])
    assert sorted(row.bytes_out for row in reporter.flush()) == [5, 5]
