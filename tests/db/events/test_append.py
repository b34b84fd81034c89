import itertools
import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec
import pytest
from empty_store import empty_store
from hypothesis import given, settings
from hypothesis import strategies as st
from stored_events import SECOND_NS, T0_NS, event_id, make_event, received

from db.findings import parts
from db.store import Store, open_store
from db.values import AppendResult, EventFilter, Finding, FindingFilter, FindingState
from rules.values.direction import Direction
from rules.values.event import APART, Event
from rules.values.observation import FlowState, Kind, Refusal
from rules.values.verdict import Outcome, Role, Severity

SEVERITIES = list(Severity)


def test_an_event_comes_back_as_it_was_written(store: Store) -> None:
    event = make_event(
        1,
        kind=Kind.DNS,
        dns_query="a.example",
        dns_type=1,
        dns_rcode=3,
        dns_answers=("b.example", "192.0.2.1"),
        alpn=(),
        state=FlowState.BLOCKED,
        refusal=Refusal.DNS,
        rule_id="listed_name",
        rule_version="2026.11.23",
        policy_digest="9f2c1e77a0b4d358",
        sensor_name="gateway",
        site="Berlin",
        direction=Direction.INTERNAL,
    )
    assert store.append([event]) == AppendResult(stored=1)
    assert store.event(event.event_id) == event
    assert store.event(event_id(2)) is None


def test_sending_again_changes_nothing(store: Store) -> None:
    batch = [make_event(number) for number in range(3)]
    store.append(batch)
    before = store.findings(FindingFilter(), 10)
    assert store.append(batch) == AppendResult(ignored=3)
    assert store.findings(FindingFilter(), 10) == before
    assert [ingested.ingest_seq for ingested in store.ingested_after(0, 10)] == [1, 2, 3]


def test_the_store_says_itself_when_it_first_heard_of_an_event(path: Path) -> None:
    times_ns = iter([5, 7, 9])
    with open_store(path, now_ns=lambda: next(times_ns)) as store:
        store.append([make_event(1, received_at_ns=1), make_event(1, received_at_ns=2, revision=2)])
        store.append([make_event(1, received_at_ns=None, revision=3), make_event(2)])
        assert [event.received_at_ns for event in store.events(EventFilter(), 9)] == [7, 5]


def test_nothing_to_write_is_no_transaction(store: Store) -> None:
    assert store.append([]) == AppendResult()


def test_the_higher_revision_wins_and_adds_the_difference(store: Store) -> None:
    first, third = make_event(1), make_event(1, revision=3, count=7, last_seen_ns=T0_NS + 9 * SECOND_NS)
    assert store.append([first]) == AppendResult(stored=1)
    assert store.append([third]) == AppendResult(updated=1)
    assert store.append([make_event(1, revision=2, count=5)]) == AppendResult(ignored=1)
    assert store.event(first.event_id) == third
    (finding,) = store.findings(FindingFilter(), 10)
    assert (finding.events, finding.sightings, finding.last_seen_ns) == (1, 7, T0_NS + 9 * SECOND_NS)


def test_revisions_may_share_a_batch(store: Store) -> None:
    batch = [make_event(1, revision=2, count=4), make_event(1), make_event(1, revision=3, count=6)]
    assert store.append(batch) == AppendResult(stored=1, ignored=2)
    assert store.findings(FindingFilter(), 10)[0].sightings == 6


def test_a_revision_is_streamed_again(store: Store) -> None:
    store.append([make_event(1), make_event(2)])
    seen = store.last_ingest_seq()
    store.append([make_event(1, revision=2, state=FlowState.BLOCKED)])
    (again,) = store.ingested_after(seen, 10)
    assert again.event.state is FlowState.BLOCKED


def test_an_empty_store_streams_from_zero(store: Store) -> None:
    assert store.last_ingest_seq() == 0
    assert store.ingested_after(0, 10) == []


@pytest.mark.parametrize(
    "unfit",
    [
        {"confidence": 101},
        {"revision": 0},
        {"count": 0},
        {"dst_port": 65_536},
        {"last_seen_ns": 1 << 63},
        {"dst_name": "\ud800"},
        {"verdict": Outcome.UNKNOWN},
        {"src_ip": None},
        {"interface": ["eth0"]},
    ],
    ids=str,
)
def test_an_event_the_database_refuses_does_not_poison_its_batch(store: Store, unfit: dict[str, object]) -> None:
    result = store.append([make_event(1), make_event(2, **unfit), make_event(3)])
    assert (result.stored, len(result.rejected)) == (2, 1)
    assert (result.rejected[0].index, result.rejected[0].event_id) == (1, event_id(2))
    assert result.rejected[0].problem
    assert len(store.events(EventFilter(), 10)) == 2
    assert store.findings(FindingFilter(), 10)[0].events == 2


def test_a_refused_revision_leaves_the_lower_one(store: Store) -> None:
    result = store.append([make_event(1), make_event(1, revision=2, confidence=-1)])
    assert (result.stored, len(result.rejected)) == (1, 1)
    assert store.event(event_id(1)) == make_event(1)


def test_sums_that_overflow_are_refused(store: Store) -> None:
    most = (1 << 63) - 1
    result = store.append([make_event(1, count=most), make_event(2, count=most)])
    assert (result.stored, len(result.rejected)) == (1, 1)
    assert store.findings(FindingFilter(), 10)[0].sightings == most


@pytest.fixture(scope="module", params=[parts.LARGE, 1])
def shared(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Store]:
    path = tmp_path_factory.mktemp("shared") / "molecatcher.db"
    with pytest.MonkeyPatch.context() as patch, open_store(path, now_ns=received) as opened:
        patch.setattr(parts, "LARGE", request.param)
        yield opened


EXAMPLES = itertools.count(1)
FIELDS: dict[str, st.SearchStrategy[object]] = {
    "verdict": st.sampled_from([Outcome.SANCTIONED, Outcome.UNSANCTIONED, Outcome.SUSPICIOUS]),
    "service": st.sampled_from([None, "ngrok"]),
    "role": st.sampled_from([Role.AGENT, Role.UNCLEAR]),
    "severity": st.sampled_from(SEVERITIES),
    "confidence": st.integers(0, 100),
    "state": st.sampled_from(list(FlowState)),
    "kind": st.sampled_from([Kind.DNS, Kind.TLS]),
    "exception_id": st.sampled_from([None, "pilot"]),
    "sensor_loss": st.integers(0, 9),
    "dst_name": st.sampled_from([None, "a.example", "b.example"]),
    "count": st.integers(1, 9),
    "first_seen_ns": st.integers(0, 5),
    "last_seen_ns": st.integers(5, 9),
    "bytes_out": st.integers(0, 9),
    "bytes_in": st.integers(0, 9),
}


@st.composite
def revisions(draw: st.DrawFn) -> list[dict[str, object]]:
    """One event's revisions; each changes a field or two of the one before."""
    known = [draw(st.fixed_dictionaries(FIELDS))]
    for _ in range(draw(st.integers(0, 3))):
        changed = draw(st.sets(st.sampled_from(sorted(FIELDS)), max_size=2))
        known.append(known[-1] | {name: draw(FIELDS[name]) for name in sorted(changed)})
    return known


@st.composite
def deliveries(draw: st.DrawFn) -> tuple[list[list[tuple[int, int]]], list[list[dict[str, object]]]]:
    """Every revision of a few events at least once, in any order and with repetitions, cut into batches."""
    events = draw(st.lists(revisions(), min_size=1, max_size=4))
    each = [(number, revision) for number, revisions in enumerate(events) for revision in range(len(revisions))]
    order = draw(st.permutations(each + draw(st.lists(st.sampled_from(each), max_size=6))))
    cuts = sorted(draw(st.sets(st.integers(0, len(order)))) | {0, len(order)})
    return [order[start:end] for start, end in itertools.pairwise(cuts)], events


@settings(max_examples=300)
@given(deliveries())
def test_order_and_repetition_never_change_the_outcome(
    shared: Store, drawn: tuple[list[list[tuple[int, int]]], list[list[dict[str, object]]]]
) -> None:
    batches, revisions = drawn
    example = next(EXAMPLES)
    src_ip = f"10.{example >> 16 & 255}.{example >> 8 & 255}.{example & 255}"

    def event(number: int, revision: int) -> Event:
        at_ns = T0_NS + (0, 300, 900, 100_000)[number] * SECOND_NS
        said = revisions[number][revision] | {"observed_at_ns": at_ns}
        return make_event(example * 10 + number, src_ip=src_ip, revision=revision + 1, **said)

    for batch in batches:
        shared.append([event(*each) for each in batch])
    final = [event(number, len(known) - 1) for number, known in enumerate(revisions)]
    assert sorted(shared.events(EventFilter(src=src_ip), 100), key=lambda each: each.event_id) == final
    found = {(each.service, each.role): each for each in shared.findings(FindingFilter(src=src_ip), 100)}
    assert found == expected_findings(final, found)


Key = tuple[str | None, Role]


def expected_findings(final: list[Event], found: Mapping[Key, Finding]) -> dict[Key, Finding]:
    listed = [each for each in final if each.verdict is not Outcome.SANCTIONED]
    keys = {(each.service, each.role) for each in listed}
    return {key: expected_finding([e for e in listed if (e.service, e.role) == key], found[key]) for key in keys}


def expected_finding(events: list[Event], found: Finding) -> Finding:
    latest = max(events, key=lambda each: (each.last_seen_ns, each.event_id))
    decides = max(events, key=state_at)
    is_certain = any(each.verdict is Outcome.UNSANCTIONED for each in events)
    return Finding(
        finding_id=found.finding_id,
        src_ip=latest.src_ip,
        service=latest.service,
        role=latest.role,
        verdict=Outcome.UNSANCTIONED if is_certain else Outcome.SUSPICIOUS,
        severity=max((each.severity for each in events), key=SEVERITIES.index),
        confidence=max(each.confidence for each in events),
        state=FindingState.EXCEPTED if latest.exception_id else FindingState.OPEN,
        tunnel_state=FlowState(decides.state),
        tunnel_state_at_ns=state_at(decides)[0] or None,
        first_seen_ns=min(each.first_seen_ns for each in events),
        last_seen_ns=latest.last_seen_ns,
        events=len(events),
        sightings=sum(each.count for each in events),
        bytes_out=sum(each.bytes_out for each in events),
        bytes_in=sum(each.bytes_in for each in events),
        dst_name=latest.dst_name,
        event_id=latest.event_id,
        sensor_id=latest.sensor_id,
        sensor_loss=max(each.sensor_loss for each in events),
        exception_id=latest.exception_id,
        decided_at_ns=None,
    )


def state_at(event: Event) -> tuple[int, int]:
    is_look_up = event.kind is Kind.DNS and event.state is FlowState.ATTEMPTED
    weight = [FlowState.ATTEMPTED, FlowState.BLOCKED, FlowState.LIVE].index(event.state)
    return 0 if is_look_up else event.last_seen_ns, weight


def test_every_field_of_an_event_has_its_column(store: Store, path: Path) -> None:
    store.append([make_event(1)])
    with sqlite3.connect(path) as connection:
        columns = {row[1] for row in connection.execute("PRAGMA table_info(events)")}
    connection.close()
    assert columns == {field.name for field in msgspec.structs.fields(Event)} - APART | {"ingest_seq", "facet_id"}


def test_to_make_ready_writes_nothing_and_waits_for_nobody(path: Path) -> None:
    with empty_store(path, busy_timeout_ms=50) as store, sqlite3.connect(path, isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        store.make_ready()
        other.execute("COMMIT")
        assert store.append([make_event(1)]) == AppendResult(stored=1)
        assert [row.ingest_seq for row in store.ingested_after(0, 9)] == [1]
