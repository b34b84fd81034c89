"""Whole hours are counted by their sums, the rest of a window by its events: together what all events would give."""

import itertools
import random
from collections import Counter
from collections.abc import Callable, Iterator

import pytest
from query_plans import plans, statements
from stored_events import SECOND_NS, T0_NS, make_event

from db.events.aggregates import sums_for
from db.store import Store, open_store
from db.values import Aggregation, Dimension, EventFilter, Group, Metric, ServiceCount
from rules.values.event import Event
from rules.values.observation import FlowState
from rules.values.verdict import Outcome

MINUTE_NS = 60 * SECOND_NS
HOUR_NS = 60 * MINUTE_NS
DAY_NS = 24 * HOUR_NS
START_NS = T0_NS - T0_NS % HOUR_NS + HOUR_NS
SERVICES = ("ngrok", "frp", None)
BY = (Dimension.SERVICE, Dimension.VERDICT, Dimension.SENSOR)
NUMBERS: dict[Metric, Callable[[Event], int]] = {
    Metric.EVENTS: lambda _event: 1,
    Metric.SIGHTINGS: lambda event: event.count,
    Metric.BYTES: lambda event: event.bytes_out + event.bytes_in,
}
NAMES = {Dimension.SENSOR: "sensor_id", Dimension.SRC: "src_ip", Dimension.DST: "dst_name"}
WINDOWS = {
    "all": {},
    "whole hours": {"from_ns": START_NS, "to_ns": START_NS + 3 * HOUR_NS},
    "parts of hours": {"from_ns": START_NS - 7 * MINUTE_NS, "to_ns": START_NS + 2 * HOUR_NS + 1},
    "since a minute": {"from_ns": START_NS + MINUTE_NS},
    "until a minute": {"to_ns": START_NS + 4 * HOUR_NS - MINUTE_NS},
    "within an hour": {"from_ns": START_NS + MINUTE_NS, "to_ns": START_NS + 30 * MINUTE_NS},
    "over the full hour": {"from_ns": START_NS - MINUTE_NS, "to_ns": START_NS + MINUTE_NS},
    "empty": {"from_ns": START_NS + HOUR_NS, "to_ns": START_NS + HOUR_NS},
    "turned round": {"from_ns": START_NS + 2 * HOUR_NS, "to_ns": START_NS},
}


@pytest.fixture(scope="module")
def events() -> list[Event]:
    chance = random.Random(2)
    return [
        make_event(
            number,
            observed_at_ns=START_NS + (number - 200) * MINUTE_NS // 3,
            last_seen_ns=START_NS + (number - 199) * MINUTE_NS // 3,
            verdict=chance.choice([Outcome.SANCTIONED, Outcome.UNSANCTIONED, Outcome.SUSPICIOUS]),
            service=chance.choice(SERVICES),
            state=chance.choice(list(FlowState)),
            sensor_id=chance.choice("ab"),
            src_ip=f"10.0.0.{chance.randrange(9)}",
            count=chance.randrange(1, 9),
            bytes_out=number,
            bytes_in=7,
        )
        for number in range(1200)
    ]


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory, events: list[Event]) -> Iterator[Store]:
    with open_store(tmp_path_factory.mktemp("aggregates") / "events.db") as store:
        store.append(events)
        yield store


def counted(events: list[Event], wanted: EventFilter, how: Aggregation) -> list[Group]:
    """Return what the store must say, counted one by one."""
    sums: Counter[tuple[int | None, tuple[str | None, ...]]] = Counter()
    for event in events:
        is_in = (wanted.from_ns or 0) <= event.observed_at_ns < (wanted.to_ns or 2**63)
        if is_in and wanted.verdict in (None, event.verdict) and wanted.src in (None, event.src_ip):
            values = tuple(getattr(event, NAMES.get(dimension, dimension.value)) for dimension in how.by)
            start = event.observed_at_ns // how.interval_ns * how.interval_ns if how.interval_ns else None
            sums[start, values] += NUMBERS[how.metric](event)
    if not (sums or how.by or how.interval_ns):
        return [Group(None, (), 0)]
    return [Group(start, values, value) for (start, values), value in sums.items()]


@pytest.mark.parametrize("metric", NUMBERS, ids=str)
@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("grouped", list(itertools.product([(), BY[:1], BY], [None, HOUR_NS, MINUTE_NS])), ids=str)
def test_every_window_gives_what_its_events_give(
    filled: Store, events: list[Event], metric: Metric, window: str, grouped: tuple[tuple[Dimension, ...], int | None]
) -> None:
    how = Aggregation(by=grouped[0], metric=metric, interval_ns=grouped[1])
    for more in ({}, {"verdict": Outcome.SUSPICIOUS}, {"src": "10.0.0.3"}):
        wanted = EventFilter(**WINDOWS[window], **more)  # type: ignore[arg-type]  # fields come by name
        found = filled.aggregate(wanted, how, 9999)
        assert sorted(found, key=str) == sorted(counted(events, wanted, how), key=str)
        assert found == sorted(found, key=lambda group: (group.start_ns or 0, -group.value))


def test_what_is_of_single_sources_or_parts_of_hours_is_not_summed() -> None:
    by_source = Aggregation(by=(Dimension.SRC,), interval_ns=DAY_NS)
    assert sums_for(EventFilter(from_ns=T0_NS + 1), Aggregation(by=BY, interval_ns=DAY_NS)).step_ns == HOUR_NS  # type: ignore[union-attr]
    assert sums_for(EventFilter(from_ns=T0_NS + 1), by_source).step_ns == DAY_NS  # type: ignore[union-attr]
    assert sums_for(EventFilter(), Aggregation(by=(Dimension.DST,))).step_ns == DAY_NS  # type: ignore[union-attr]
    for wanted, how in (
        (EventFilter(src="10.0.0.1"), Aggregation()),
        (EventFilter(src="10.0.0.1"), Aggregation(by=(Dimension.DST,))),
        (EventFilter(verdict=Outcome.SUSPICIOUS), by_source),
        (EventFilter(), Aggregation(by=(Dimension.SRC, Dimension.SERVICE))),
        (EventFilter(), Aggregation(by=(Dimension.SRC,), interval_ns=HOUR_NS)),
        (EventFilter(), Aggregation(metric=Metric.SOURCES)),
        (EventFilter(), Aggregation(interval_ns=MINUTE_NS)),
    ):
        assert sums_for(wanted, how) is None


@pytest.mark.parametrize("by", [(), BY])
@pytest.mark.parametrize("window", ["whole hours", "parts of hours", "since a minute"])
def test_sums_are_read_along_their_key_and_of_the_events_an_hour_at_each_end(
    filled: Store, window: str, by: tuple[Dimension, ...]
) -> None:
    with statements(filled) as noted:
        filled.aggregate(EventFilter(**WINDOWS[window]), Aggregation(by=by, interval_ns=HOUR_NS), 100)  # type: ignore[arg-type]
    text = "\n".join(plans(filled, noted))
    assert "SEARCH rollups USING INDEX sqlite_autoindex_rollups_1 (hour_ns>?" in text, text
    assert "SCAN events" not in text, text
    ends = text.count("INDEX ix_events_observed_at_ns_event_id (observed_at_ns>? AND observed_at_ns<?)")
    assert ends == {"whole hours": 0, "parts of hours": 2, "since a minute": 1}[window], text


def services_of(events: list[Event], from_ns: int, to_ns: int) -> list[ServiceCount]:
    inside = [event for event in events if from_ns <= event.observed_at_ns < to_ns]
    found = []
    for service in SERVICES:
        own = [event for event in inside if event.service == service]
        sources, seen_ns = len({event.src_ip for event in own}), max(event.last_seen_ns for event in own)
        found.append(ServiceCount(service, len(own), sum(event.count for event in own), sources, seen_ns))
    return sorted(found, key=lambda count: (-count.events, count.service or ""))


@pytest.mark.parametrize("to_ns", [START_NS + 2 * HOUR_NS, START_NS + 99 * HOUR_NS])
@pytest.mark.parametrize("from_ns", [0, START_NS, START_NS + 90 * MINUTE_NS])
def test_counts_by_service(filled: Store, events: list[Event], from_ns: int, to_ns: int) -> None:
    assert filled.service_counts(from_ns, to_ns) == services_of(events, from_ns, to_ns)


def test_services_up_to_now_are_counted_without_reading_the_events(filled: Store) -> None:
    with statements(filled) as noted:
        filled.service_counts(START_NS, START_NS + 99 * HOUR_NS)
    assert [plan for plan in plans(filled, noted) if "events" in plan] == [
        "SEARCH events USING COVERING INDEX ix_events_observed_at_ns_event_id"
    ]


def test_a_source_is_seen_last_when_any_of_its_events_was(store: Store) -> None:
    store.append([make_event(1, last_seen_ns=T0_NS + 9 * SECOND_NS), make_event(2, service="frp")])
    store.append([make_event(1, revision=2, last_seen_ns=T0_NS + 11 * SECOND_NS), make_event(3, last_seen_ns=T0_NS)])
    assert store.service_counts(0, T0_NS + HOUR_NS) == [
        ServiceCount("ngrok", 2, 2, 1, T0_NS + 11 * SECOND_NS),
        ServiceCount("frp", 1, 1, 1, T0_NS + 2 * SECOND_NS),
    ]
