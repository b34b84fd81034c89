"""What is too old leaves, in small steps, with all that belongs to it; nothing else does."""

import random
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from empty_store import empty_store
from query_plans import statements
from stored_events import SECOND_NS, T0_NS, make_event

from db.access.values import Token, TokenScope
from db.retention import ROWS_A_TRANSACTION, Aging
from db.sql.engine import reading
from db.store import Store
from db.values import Aggregation, Dimension, EventFilter, FindingChange, FindingFilter, Metric
from db.workflow.values import ExceptionStatus, StoredException
from molecatcher.settings import Settings
from molecatcher.upkeep.retention import DAY_NS, Retention
from rules.values.verdict import Severity

NOW_NS = T0_NS + 1000 * DAY_NS
COLUMNS = {
    Dimension.SERVICE: "service",
    Dimension.SEVERITY: "severity",
    Dimension.SENSOR: "sensor_id",
    Dimension.SRC: "src_ip",
    Dimension.DST: "dst_name",
}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with empty_store(tmp_path / "molecatcher.db") as opened:
        yield opened


@pytest.fixture
def retention(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Retention:
    monkeypatch.setattr("molecatcher.upkeep.retention.PAUSE_S", 0)
    return Retention(store, Settings(state=tmp_path, policy=None), lambda: NOW_NS)


def aged(number: int, days: float, **fields: object) -> object:
    at_ns = NOW_NS - int(days * DAY_NS)
    return make_event(number, observed_at_ns=at_ns, first_seen_ns=at_ns, **({"last_seen_ns": at_ns} | fields))


def test_old_events_leave_with_their_packets_and_findings_stay(store: Store, retention: Retention) -> None:
    store.append([aged(1, 181, evidence=b"old"), aged(2, 179, evidence=b"young"), aged(3, 300, last_seen_ns=NOW_NS)])  # type: ignore[list-item]
    before = store.findings(FindingFilter(), 10)
    assert retention.look()
    assert {event.event_id for event in store.events(EventFilter(), 10)} == {
        make_event(2).event_id,
        make_event(3).event_id,
    }
    assert store.evidence(make_event(1).event_id) is None
    assert store.evidence_usage().octets == len(b"young")
    assert store.findings(FindingFilter(), 10) == before
    assert store.retention.purged()[Aging.EVENTS] == 1
    assert retention.look() == 0


def test_old_findings_leave_with_their_history(store: Store, retention: Retention) -> None:
    store.append([aged(1, 401), aged(2, 399, src_ip="10.20.0.8")])  # type: ignore[list-item]
    (old,) = store.findings(FindingFilter(src="10.20.0.7"), 2)
    store.change_finding(old.finding_id, FindingChange(comment="seen"), "alice", NOW_NS)
    retention.look()
    assert [row.src_ip for row in store.findings(FindingFilter(), 10)] == ["10.20.0.8"]
    assert store.finding_history(old.finding_id, None, 10) == []
    assert store.retention.purged()[Aging.FINDINGS] == 1


def test_ended_exceptions_leave_and_those_in_force_stay(store: Store, retention: Retention) -> None:
    for exception_id in ("kept", "ended"):
        store.policy.add_exception(
            StoredException(
                exception_id=exception_id,
                service="ngrok",
                sources=("10.0.0.0/8",),
                owner="o",
                reason="r",
                status=ExceptionStatus.ACTIVE,
                requested_by="alice",
                requested_at_ns=NOW_NS - 900 * DAY_NS,
            )
        )
    store.policy.end_exception("ended", "alice", NOW_NS - 500 * DAY_NS)
    retention.look()
    assert [row.exception_id for row in store.policy.exceptions(None, None, None, 10)] == ["kept"]


def test_ended_tokens_leave_and_those_in_force_stay(store: Store, retention: Retention) -> None:
    long_ago_ns, lately_ns = NOW_NS - 91 * DAY_NS, NOW_NS - 89 * DAY_NS
    for name, expires_at_ns in (("good", None), ("over", long_ago_ns), ("just-over", lately_ns), ("revoked", None)):
        token = Token(
            token_id=name,
            name=name,
            scopes=(TokenScope.FEEDS_READ,),
            digest=name.encode(),
            created_at_ns=long_ago_ns,
            expires_at_ns=expires_at_ns,
        )
        assert store.add_token(token, 4)
    store.revoke_token("revoked", long_ago_ns)
    retention.look()
    assert [token.name for token in store.tokens()] == ["good", "just-over"]


def test_many_leave_a_few_at_a_time_while_others_write(store: Store, retention: Retention) -> None:
    store.append([aged(number, 200 + number / 1e4) for number in range(ROWS_A_TRANSACTION * 2 + 7)])  # type: ignore[misc]
    assert store.retention.purge(Aging.EVENTS, NOW_NS - 180 * DAY_NS) == ROWS_A_TRANSACTION
    cleaner = threading.Thread(target=retention.look)
    cleaner.start()
    for number in range(5000, 5010):
        store.append([make_event(number, observed_at_ns=NOW_NS + number * SECOND_NS, last_seen_ns=NOW_NS * 2)])
    cleaner.join(60)
    assert len(store.events(EventFilter(), 100)) == 10
    assert store.retention.purged()[Aging.EVENTS] == ROWS_A_TRANSACTION * 2 + 7


def facets(store: Store) -> list[tuple[str, str]]:
    with reading(store._engine) as connection:
        query = "SELECT sensor_id, severity FROM facets ORDER BY sensor_id, severity"
        return [(row[0], row[1]) for row in connection.exec_driver_sql(query)]


def test_facets_leave_that_neither_an_event_nor_a_sum_has(store: Store, retention: Retention) -> None:
    store.append([aged(1, 500, sensor_id="gone"), aged(2, 200, sensor_id="summed"), aged(3, 1, sensor_id="here")])  # type: ignore[list-item]
    store.append([aged(3, 1, sensor_id="here", revision=2, severity=Severity.LOW)])  # type: ignore[list-item]
    assert len(facets(store)) == 4
    retention.look()
    # The sum of what was HIGH before is 0 and leaves with its hour.
    assert facets(store) == [("here", "high"), ("here", "low"), ("summed", "high")]
    assert store.retention.purged()[Aging.FACETS] == 1
    store.append([aged(4, 0, sensor_id="gone")])  # type: ignore[list-item]
    assert [event.sensor_id for event in store.events(EventFilter(sensor="gone"), 9)] == ["gone"]
    counted = store.aggregate(EventFilter(from_ns=NOW_NS - 400 * DAY_NS), Aggregation(by=(Dimension.SENSOR,)), 9)
    assert {group.values: group.value for group in counted} == {("here",): 1, ("gone",): 1, ("summed",): 1}


def test_facets_are_looked_at_some_hundreds_at_a_time(
    store: Store, retention: Retention, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("db.retention.ROWS_A_TRANSACTION", 2)
    monkeypatch.setattr("molecatcher.upkeep.retention.ROWS_A_TRANSACTION", 2)
    store.append([aged(number, 500 if number % 2 else 1, sensor_id=f"s{number}") for number in range(7)])  # type: ignore[misc]
    with statements(store) as noted:
        retention.look()
    assert [sensor for sensor, _ in facets(store)] == ["s0", "s2", "s4", "s6"]
    deleted = [statement for statement, _ in noted if statement.startswith("DELETE FROM facets")]
    assert len(deleted) == 4
    with reading(store._engine) as connection:
        plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {deleted[0]}", (0, 2)).all()
    assert [row[3] for row in plan if "SCAN" in row[3]] == []


@pytest.mark.parametrize("kept_days", [30.5, 100, 179])
def test_counts_are_those_of_the_events_that_are_left(store: Store, retention: Retention, kept_days: float) -> None:
    chance = random.Random(7)
    for number in range(400):
        days, source = chance.uniform(0, 700), f"10.0.0.{number % 9}"
        fields = {"src_ip": source, "sensor_id": f"s{number % 13}", "dst_name": f"{number % 17}.example", "count": 2}
        store.append([aged(number, days, **fields, service=chance.choice(["frp", "ngrok", None]))])  # type: ignore[list-item]
        if number % 3 == 0:
            store.append([aged(number, days, **fields, revision=2, severity=Severity.LOW, service="bore")])  # type: ignore[list-item]
    assert retention.look()
    window = EventFilter(from_ns=NOW_NS - int(kept_days * DAY_NS))
    left = store.events(window, 1000)
    for dimension, column in COLUMNS.items():
        counted = store.aggregate(window, Aggregation(by=(dimension,), metric=Metric.SIGHTINGS), 100)
        expected = Counter(getattr(event, column) for event in left for _ in range(event.count))
        assert {group.values[0]: group.value for group in counted} == expected, dimension
    services = {row.service: (row.events, row.sources) for row in store.service_counts(window.from_ns or 0, NOW_NS + 1)}
    for service, (events, sources) in services.items():
        own = [event for event in left if event.service == service]
        assert len(own) == events
        assert sources >= len({event.src_ip for event in own})  # one still counts whose event went to another service
    assert {event.event_id for event in store.events(EventFilter(), 1000)} >= {event.event_id for event in left}
    for finding in store.findings(FindingFilter(), 100):
        assert finding.last_seen_ns >= NOW_NS - 400 * DAY_NS
