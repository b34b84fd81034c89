"""A large finding is counted again from few rows: its parts, and the events of those in which something changed."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from empty_store import empty_store
from stored_events import SECOND_NS, T0_NS, make_event, received

from db.findings import parts
from db.retention import Aging
from db.sql.engine import reading
from db.store import Store
from db.values import Finding, FindingChange, FindingFilter, FindingState
from rules.values.event import DEMONSTRATION, Event
from rules.values.verdict import Outcome, Role

STEP_NS = 30 * SECOND_NS
DAY_NS = 86_400 * SECOND_NS


def make_events(count: int) -> list[Event]:
    return [at(number) for number in range(count)]


def at(number: int, **changed: object) -> Event:
    at_ns = T0_NS + number * STEP_NS
    fields: dict[str, object] = {"observed_at_ns": at_ns, "first_seen_ns": at_ns, "last_seen_ns": at_ns}
    return make_event(number, **(fields | changed))


def only(store: Store) -> Finding:
    (found,) = store.findings(FindingFilter(), 10)
    return found


def rows(store: Store) -> int:
    with reading(store._engine) as connection:
        return int(connection.exec_driver_sql("SELECT count(*) FROM finding_parts").scalar_one())


def steps(store: Store, batch: Sequence[Event]) -> int:
    """Return how many instructions SQLite executes to append these events, in hundreds."""
    counted = 0

    def count() -> int:
        nonlocal counted
        counted += 1
        return 0

    with reading(store._engine) as connection:
        driver = connection.connection.driver_connection
    assert driver is not None
    driver.set_progress_handler(count, 100)  # of the one connection there is
    store.append(batch)
    driver.set_progress_handler(None, 0)
    return counted


def test_what_a_change_costs_does_not_grow_with_the_events_of_its_finding(tmp_path: Path) -> None:
    taken = []
    for count in (700, 7000):
        with empty_store(tmp_path / f"{count}.db", now_ns=received) as store:
            store.append(make_events(count))
            taken.append(steps(store, [at(count - 100, revision=2, role=Role.VISITOR)]))
            assert sum(found.events for found in store.findings(FindingFilter(), 9)) == count
    assert taken[1] < 1.5 * taken[0]


@pytest.mark.parametrize(
    "changed",
    [
        {"role": Role.VISITOR},
        {"verdict": Outcome.SANCTIONED},
        {"confidence": 40},
        {"last_seen_ns": T0_NS},
        {"observed_at_ns": T0_NS + 3 * DAY_NS},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_a_large_finding_is_what_it_would_be_had_the_last_word_come_first(
    store: Store, tmp_path: Path, changed: dict[str, object]
) -> None:
    events = make_events(600)
    events[300] = at(300, confidence=99, last_seen_ns=T0_NS + 9 * DAY_NS)
    final = [*events[:300], at(300, revision=2, **changed), *events[301:]]
    store.append(events)
    store.append([final[300], at(600)])
    with empty_store(tmp_path / "other.db", now_ns=received) as other:
        other.append([*final, at(600)])
        assert store.findings(FindingFilter(), 9) == other.findings(FindingFilter(), 9)


def test_a_finding_is_divided_while_it_is_large(store: Store) -> None:
    store.append(make_events(parts.LARGE))
    assert rows(store) == 0
    store.append([at(parts.LARGE)])
    assert rows(store) > 0
    store.change_finding(
        only(store).finding_id, FindingChange(state=FindingState.ACKNOWLEDGED, assignee="alice"), "alice", T0_NS
    )
    store.append([at(1, revision=2, verdict=Outcome.SANCTIONED)])
    assert rows(store) == 0
    found = only(store)
    assert (found.events, found.state, found.assignee) == (parts.LARGE, FindingState.ACKNOWLEDGED, "alice")


def test_parts_leave_with_their_events_and_their_finding(store: Store) -> None:
    store.append(make_events(600))
    before = rows(store)
    end_ns = T0_NS + 600 * STEP_NS
    assert store.retention.purge(Aging.FINDING_PARTS, T0_NS) == 0
    assert 0 < store.retention.purge(Aging.FINDING_PARTS, end_ns) < before  # the day is not over
    store.append([at(599, revision=2, confidence=10)])
    assert only(store).events <= 600
    store.append([at(number) for number in range(600, 1300)])
    store.retention.purge(Aging.FINDINGS, end_ns + DAY_NS)
    assert rows(store) == 0


def test_what_a_demonstration_added_to_a_large_finding_leaves(store: Store) -> None:
    store.append(make_events(600))
    before = only(store)
    store.append([at(number, sensor_id=DEMONSTRATION, confidence=99) for number in range(600, 1200)])
    assert only(store).events == 1200
    store.forget_events_of(DEMONSTRATION)
    assert only(store) == before


def test_a_finding_that_was_large_before_there_were_parts_is_divided_by_its_next_event(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as earlier:
        earlier.setattr(parts, "LARGE", 10_000)
        store.append(make_events(700))
        assert rows(store) == 0
    store.append([at(300, revision=2, confidence=10)])
    assert rows(store) > 0
    store.append([at(301, revision=2, role=Role.VISITOR)])
    assert store.findings(FindingFilter(role=Role.AGENT), 9)[0].events == 699
