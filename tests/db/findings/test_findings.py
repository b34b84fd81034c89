import pytest
from sqlalchemy.event import listen
from stored_events import SECOND_NS, T0_NS, make_event

from db.sql.engine import reading
from db.store import Store
from db.values import Finding, FindingChange, FindingCursor, FindingFilter, FindingState
from rules.values.observation import FlowState, Kind
from rules.values.verdict import Outcome, Role, Severity

LATER_NS = T0_NS + 100 * SECOND_NS


def decide(store: Store, finding_id: str, state: FindingState, at_ns: int) -> Finding | None:
    return store.change_finding(finding_id, FindingChange(state=state), "alice", at_ns)


def only(store: Store) -> Finding:
    (found,) = store.findings(FindingFilter(), 10)
    return found


def test_a_source_a_service_and_a_role_make_one_finding(store: Store) -> None:
    store.append(
        [
            make_event(1, confidence=60, severity=Severity.MEDIUM, count=2),
            make_event(2, state=FlowState.BLOCKED, dst_name="tunnel.ngrok.com"),
            make_event(3, src_ip="10.20.0.8"),
            make_event(4, service="frp"),
            make_event(5, role=Role.VISITOR),
        ]
    )
    assert len(store.findings(FindingFilter(), 10)) == 4
    (found,) = store.findings(FindingFilter(src="10.20.0.7", service="ngrok", role=Role.AGENT), 10)
    assert (found.events, found.sightings, found.confidence, found.severity) == (2, 3, 90, Severity.HIGH)
    assert (found.tunnel_state, found.dst_name) == (FlowState.BLOCKED, "tunnel.ngrok.com")
    assert (found.first_seen_ns, found.last_seen_ns) == (T0_NS + SECOND_NS, T0_NS + 2 * SECOND_NS)
    assert store.finding(found.finding_id) == found
    assert store.finding("none") is None


@pytest.mark.parametrize(
    ("turns", "state", "at"),
    [
        ([(Kind.TLS, FlowState.LIVE), (Kind.TLS, FlowState.BLOCKED)], FlowState.BLOCKED, 2),
        ([(Kind.TLS, FlowState.LIVE), (Kind.DNS, FlowState.BLOCKED)], FlowState.BLOCKED, 2),
        ([(Kind.DNS, FlowState.BLOCKED), (Kind.TLS, FlowState.LIVE)], FlowState.LIVE, 2),
        ([(Kind.TLS, FlowState.LIVE), (Kind.TLS, FlowState.ATTEMPTED)], FlowState.ATTEMPTED, 2),
        ([(Kind.TLS, FlowState.LIVE), (Kind.DNS, FlowState.ATTEMPTED)], FlowState.LIVE, 1),
        ([(Kind.TLS, FlowState.BLOCKED), (Kind.DNS, FlowState.ATTEMPTED)], FlowState.BLOCKED, 1),
        ([(Kind.DNS, FlowState.ATTEMPTED)], FlowState.ATTEMPTED, None),
    ],
)
def test_whether_it_is_blocked_follows_the_newest_that_says_so(
    store: Store, turns: list[tuple[Kind, FlowState]], state: FlowState, at: int | None
) -> None:
    for number, (kind, said) in enumerate(turns, 1):
        store.append([make_event(number, kind=kind, state=said)])
    assert only(store).tunnel_state is state
    assert only(store).tunnel_state_at_ns == (T0_NS + at * SECOND_NS if at else None)


def test_a_tunnel_that_goes_on_is_live_again_and_one_event_may_turn(store: Store) -> None:
    store.append([make_event(1, state=FlowState.LIVE), make_event(2, state=FlowState.BLOCKED)])
    store.append([make_event(1, revision=2, state=FlowState.LIVE, last_seen_ns=LATER_NS)])
    assert (only(store).tunnel_state, only(store).tunnel_state_at_ns) == (FlowState.LIVE, LATER_NS)
    store.append([make_event(1, revision=3, state=FlowState.BLOCKED, last_seen_ns=LATER_NS)])
    assert only(store).tunnel_state is FlowState.BLOCKED


def test_sanctioned_events_are_kept_without_a_finding(store: Store) -> None:
    store.append([make_event(1, verdict=Outcome.SANCTIONED)])
    assert store.event(make_event(1).event_id)
    assert store.findings(FindingFilter(), 10) == []


def test_a_service_may_be_absent(store: Store) -> None:
    store.append([make_event(1, service=None, verdict=Outcome.SUSPICIOUS), make_event(2, service=None)])
    assert only(store).service is None
    assert only(store).events == 2
    assert store.findings(FindingFilter(service=""), 10) == [only(store)]


def test_a_role_that_becomes_clear_moves_the_event(store: Store) -> None:
    store.append([make_event(1, role=Role.UNCLEAR, count=3)])
    store.append([make_event(1, role=Role.AGENT, count=4, revision=2)])
    assert (only(store).role, only(store).events, only(store).sightings) == (Role.AGENT, 1, 4)


def test_a_verdict_that_becomes_sanctioned_takes_its_finding_away(store: Store) -> None:
    store.append([make_event(1), make_event(2, src_ip="10.20.0.8")])
    store.append([make_event(1, verdict=Outcome.SANCTIONED, revision=2)])
    assert only(store).src_ip == "10.20.0.8"


@pytest.mark.parametrize(
    ("field", "before", "now"),
    [
        ("confidence", 90, 40),
        ("severity", Severity.HIGH, Severity.LOW),
        ("verdict", Outcome.UNSANCTIONED, Outcome.SUSPICIOUS),
        ("first_seen_ns", T0_NS, T0_NS + SECOND_NS),
        ("last_seen_ns", LATER_NS, LATER_NS - SECOND_NS),
        ("sensor_loss", 9, 4),
    ],
)
def test_a_revision_may_take_back_what_an_earlier_one_said(
    store: Store, field: str, before: object, now: object
) -> None:
    store.append([make_event(1, **{field: before})])
    store.append([make_event(1, revision=2, **{field: now})])
    assert getattr(only(store), field) == now
    assert (only(store).events, only(store).sightings) == (1, 1)


def test_the_most_that_was_lost_around_one_event_was_lost_at_least(store: Store) -> None:
    store.append([make_event(1, sensor_loss=5), make_event(2, sensor_loss=12), make_event(3)])
    assert only(store).sensor_loss == 12
    store.append([make_event(1, sensor_loss=40, revision=2)])
    assert only(store).sensor_loss == 40


def test_what_was_resolved_opens_when_it_is_seen_again(store: Store) -> None:
    store.append([make_event(1)])
    resolved = store.change_finding(
        only(store).finding_id, FindingChange(state=FindingState.RESOLVED), "alice", T0_NS + 10 * SECOND_NS
    )
    assert resolved == only(store)
    assert only(store).state is FindingState.RESOLVED
    store.append([make_event(2)])
    assert only(store).state is FindingState.RESOLVED, "a late report of an earlier sighting"
    store.append([make_event(11)])
    assert only(store).state is FindingState.OPEN


def test_a_sensor_clock_ahead_does_not_undo_a_decision(store: Store) -> None:
    store.append([make_event(60)])
    decide(store, only(store).finding_id, FindingState.RESOLVED, T0_NS)
    assert only(store).state is FindingState.RESOLVED


def test_what_was_acknowledged_stays_so_until_it_is_decided_otherwise(store: Store) -> None:
    store.append([make_event(1)])
    decide(store, only(store).finding_id, FindingState.ACKNOWLEDGED, T0_NS)
    store.append([make_event(2)])
    assert only(store).state is FindingState.ACKNOWLEDGED
    decide(store, only(store).finding_id, FindingState.OPEN, LATER_NS)
    assert only(store).state is FindingState.OPEN


def test_a_decision_outlives_a_recount(store: Store) -> None:
    store.append([make_event(1, confidence=90), make_event(2, confidence=50)])
    decide(store, only(store).finding_id, FindingState.ACKNOWLEDGED, LATER_NS)
    store.append([make_event(1, confidence=40, revision=2)])
    assert (only(store).confidence, only(store).state) == (50, FindingState.ACKNOWLEDGED)


def test_an_exception_holds_while_the_newest_event_carries_it(store: Store) -> None:
    store.append([make_event(1, exception_id="pilot")])
    assert (only(store).state, only(store).exception_id) == (FindingState.EXCEPTED, "pilot")
    store.append([make_event(2)])
    assert (only(store).state, only(store).exception_id) == (FindingState.OPEN, None)


def test_nobody_decides_an_exception_or_a_finding_that_is_not_there(store: Store) -> None:
    store.append([make_event(1)])
    with pytest.raises(ValueError, match="through an exception"):
        decide(store, only(store).finding_id, FindingState.EXCEPTED, T0_NS)
    assert decide(store, "none", FindingState.OPEN, T0_NS) is None


@pytest.mark.parametrize(
    ("wanted", "numbers"),
    [
        (FindingFilter(), [4, 3, 2, 1]),
        (FindingFilter(src="10.0.0.2"), [2]),
        (FindingFilter(src="2001:DB8:0::1"), [4]),
        (FindingFilter(service="frp"), [3]),
        (FindingFilter(verdict=Outcome.SUSPICIOUS), [2]),
        (FindingFilter(role=Role.VISITOR), [1]),
        (FindingFilter(severity=Severity.LOW), [1]),
        (FindingFilter(state=FindingState.EXCEPTED), [3]),
        (FindingFilter(tunnel_state=FlowState.BLOCKED), [2]),
        (FindingFilter(sensor="b"), [4]),
        (FindingFilter(from_ns=T0_NS + 2 * SECOND_NS, to_ns=T0_NS + 4 * SECOND_NS), [3, 2]),
        (FindingFilter(q="FRP"), [3]),
        (FindingFilter(q="0.0.2"), [2]),
        (FindingFilter(q="connect%"), []),
        (FindingFilter(service="ngrok", severity=Severity.HIGH), [4, 2]),
    ],
    ids=str,
)
def test_filters(store: Store, wanted: FindingFilter, numbers: list[int]) -> None:
    events = [
        make_event(1, src_ip="10.0.0.1", role=Role.VISITOR, severity=Severity.LOW),
        make_event(2, src_ip="10.0.0.2", verdict=Outcome.SUSPICIOUS, state=FlowState.BLOCKED),
        make_event(3, src_ip="10.0.0.3", service="frp", exception_id="pilot"),
        make_event(4, src_ip="2001:db8::1", sensor_id="b"),
    ]
    store.append(events)
    assert [each.event_id for each in store.findings(wanted, 10)] == [make_event(n).event_id for n in numbers]


def test_pages_cover_every_finding_once(store: Store) -> None:
    store.append([make_event(n, src_ip=f"10.0.0.{n}", last_seen_ns=LATER_NS + n // 3) for n in range(25)])
    seen: list[str] = []
    after = None
    while page := store.findings(FindingFilter(), 4, after):
        seen += [each.src_ip for each in page]
        after = FindingCursor.of(page[-1])
    assert len(seen) == len(set(seen)) == 25


def test_open_findings_are_counted_by_how_their_tunnel_did(store: Store) -> None:
    store.append(
        [make_event(number, src_ip=f"10.20.0.{number}", state=FlowState.BLOCKED, count=1) for number in range(5)]
        + [make_event(9, src_ip="10.20.0.9")]
    )
    assert store.count_open_findings(100) == {"blocked": 5, "live": 1}
    assert store.count_open_findings(3) == {"blocked": 2, "live": 1}  # of those seen last
    (live,) = store.findings(FindingFilter(src="10.20.0.9"), 9)
    store.change_finding(live.finding_id, FindingChange(state=FindingState.RESOLVED), "alice", live.last_seen_ns)
    assert store.count_open_findings(100) == {"blocked": 5}


def test_the_busiest_sources_are_those_with_most_open_findings_seen_since(store: Store) -> None:
    services = ("ngrok", "bore", "frp")
    store.append(
        [
            make_event(10 * source + at, src_ip=f"10.20.0.{source}", service=services[at], state=FlowState.LIVE)
            for source in range(1, 4)
            for at in range(source)
        ]
    )
    store.append([make_event(99, src_ip="10.20.0.3", service="chisel", state=FlowState.BLOCKED)])
    assert store.busiest_sources(0, 2) == {"10.20.0.3": {"live": 3, "blocked": 1}, "10.20.0.2": {"live": 2}}
    assert store.busiest_sources(T0_NS + 90 * SECOND_NS, 2) == {"10.20.0.3": {"blocked": 1}}


@pytest.mark.parametrize("service", ["ngrok", None])
def test_the_newest_events_of_a_finding_are_found_along_its_sources_index(store: Store, service: str | None) -> None:
    mine = [make_event(number, service=service) for number in range(1, 6)]
    others = [make_event(number, service="frp") for number in range(6, 70)]
    store.append([*mine, *others, make_event(70, service=service, src_ip="10.20.0.8")])
    (found,) = store.findings(FindingFilter(src="10.20.0.7", service=service or "", role=Role.AGENT), 10)
    statements: list[tuple[str, tuple[object, ...]]] = []
    listen(store._engine, "before_cursor_execute", lambda *row: statements.append((row[2], row[3])))
    (events,) = store.events_of_findings([found], 0, 10)
    assert [event.event_id for event in events] == [found.event_id]  # the others are not among the 50 newest
    statement, parameters = next(row for row in statements if "IN (SELECT" in row[0])
    with reading(store._engine) as connection:
        plan = [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)]
    indexes = sorted(word for step in plan for word in step.split() if word.startswith(("ix_", "sqlite_autoindex")))
    assert indexes == ["ix_events_src_ip_observed_at_ns_event_id", "sqlite_autoindex_events_1"]
