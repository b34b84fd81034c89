"""Sources and names over many days are counted by their daily sums: always what the events would give."""

import itertools
import random
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from alembic import command
from alembic.config import Config
from query_plans import plans, statements
from stored_events import SECOND_NS, T0_NS, make_event

from db.retention import Aging
from db.schema import version
from db.sql.engine import connect_engine, parse_location, writing
from db.store import Store, open_store
from db.values import Aggregation, Dimension, EventFilter, Group, Metric
from rules.values.event import DEMONSTRATION, Event
from rules.values.verdict import Role

HOUR_NS = 3600 * SECOND_NS
DAY_NS = 24 * HOUR_NS
START_NS = T0_NS - T0_NS % DAY_NS + DAY_NS
NUMBERS: dict[Metric, Callable[[Event], int]] = {
    Metric.EVENTS: lambda _event: 1,
    Metric.SIGHTINGS: lambda event: event.count,
    Metric.BYTES: lambda event: event.bytes_out + event.bytes_in,
}
ENDS = {Dimension.SRC: "src_ip", Dimension.DST: "dst_name"}
WINDOWS = {
    "all": {},
    "whole days": {"from_ns": START_NS, "to_ns": START_NS + 2 * DAY_NS},
    "parts of days": {"from_ns": START_NS - 7 * HOUR_NS, "to_ns": START_NS + DAY_NS + 1},
    "since an hour": {"from_ns": START_NS + HOUR_NS},
    "within a day": {"from_ns": START_NS + HOUR_NS, "to_ns": START_NS + 9 * HOUR_NS},
}


def make_events() -> list[Event]:
    chance = random.Random(3)
    return [
        make_event(
            number,
            observed_at_ns=START_NS + (number - 100) * HOUR_NS // 4,
            src_ip=f"10.0.0.{chance.randrange(9)}",
            dst_name=chance.choice(["a.tunnel.example", "b.tunnel.example", None]),
            service=chance.choice(["ngrok", None]),
            count=chance.randrange(1, 9),
            bytes_out=number,
        )
        for number in range(400)
    ]


@pytest.fixture(scope="module")
def events() -> list[Event]:
    return make_events()


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory, events: list[Event]) -> Iterator[Store]:
    with open_store(tmp_path_factory.mktemp("days") / "events.db") as store:
        store.append(events)
        yield store


def counted(events: list[Event], wanted: EventFilter, how: Aggregation) -> list[Group]:
    sums: Counter[tuple[int | None, str | None]] = Counter()
    for event in events:
        if (wanted.from_ns or 0) <= event.observed_at_ns < (wanted.to_ns or 2**63):
            start = event.observed_at_ns // how.interval_ns * how.interval_ns if how.interval_ns else None
            sums[start, getattr(event, ENDS[how.by[0]])] += NUMBERS[how.metric](event)
    return [Group(start, (value,), number) for (start, value), number in sums.items()]


@pytest.mark.parametrize("metric", NUMBERS, ids=str)
@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("grouped", list(itertools.product(ENDS, [None, DAY_NS, HOUR_NS])), ids=str)
def test_every_window_gives_what_its_events_give(
    filled: Store, events: list[Event], metric: Metric, window: str, grouped: tuple[Dimension, int | None]
) -> None:
    how = Aggregation(by=grouped[:1], metric=metric, interval_ns=grouped[1])
    wanted = EventFilter(**WINDOWS[window])  # type: ignore[arg-type]  # fields come by name
    found = filled.aggregate(wanted, how, 9999)
    assert sorted(found, key=str) == sorted(counted(events, wanted, how), key=str)
    assert found == sorted(found, key=lambda group: (group.start_ns or 0, -group.value))


@pytest.mark.parametrize("end", ENDS, ids=str)
def test_days_are_read_along_their_key_and_of_the_events_a_day_at_each_end(filled: Store, end: Dimension) -> None:
    with statements(filled) as noted:
        filled.aggregate(EventFilter(**WINDOWS["parts of days"]), Aggregation(by=(end,)), 100)  # type: ignore[arg-type]
    text = "\n".join(plans(filled, noted))
    assert "SEARCH daily_sums USING PRIMARY KEY (dimension=? AND day_ns>? AND day_ns<?)" in text, text
    assert "SCAN events" not in text, text
    assert text.count("SEARCH events USING COVERING INDEX") == 2, text


@pytest.mark.parametrize("metric", NUMBERS, ids=str)
def test_one_source_is_counted_by_name_from_an_index_alone(filled: Store, metric: Metric) -> None:
    with statements(filled) as noted:
        filled.aggregate(EventFilter(src="10.0.0.1"), Aggregation(by=(Dimension.DST,), metric=metric), 100)
    text = "\n".join(plans(filled, noted))
    assert "SEARCH events USING COVERING INDEX ix_events_src_ip_observed_at_ns" in text, text


@pytest.mark.parametrize("service", [None, "ngrok", "", "nobody's"])
@pytest.mark.parametrize("to_ns", [None, START_NS + DAY_NS])
@pytest.mark.parametrize("by", [(), (Dimension.SERVICE,)])
def test_sources_are_counted_once(
    filled: Store, events: list[Event], service: str | None, to_ns: int | None, by: tuple[Dimension, ...]
) -> None:
    wanted = EventFilter(from_ns=START_NS, to_ns=to_ns, service=service)
    inside = [event for event in events if START_NS <= event.observed_at_ns < (to_ns or 2**63)]
    own = [event for event in inside if service is None or (event.service or "") == service]
    users: dict[str | None, set[str]] = {} if by else {None: set()}
    for event in own:
        users.setdefault(event.service if by else None, set()).add(event.src_ip)
    expected = [Group(None, (value,) if by else (), len(sources)) for value, sources in users.items()]
    with statements(filled) as noted:
        found = filled.aggregate(wanted, Aggregation(by=by, metric=Metric.SOURCES), 10)
    assert sorted(found, key=str) == sorted(expected, key=str)
    reads_events = any("FROM events" in statement and "GROUP" in statement for statement, _ in noted)
    assert not (reads_events and to_ns is None)


def everything(store: Store) -> list[list[Group]]:
    hows = [Aggregation(by=(end,), metric=metric, interval_ns=DAY_NS) for end in ENDS for metric in NUMBERS]
    return [sorted(store.aggregate(EventFilter(), how, 999), key=str) for how in hows]


def test_a_revision_takes_back_what_the_one_before_said(store: Store) -> None:
    events = make_events()
    store.append(events[:50])
    revised = [
        msgspec.structs.replace(event, revision=2, count=event.count + 3, dst_name="c.tunnel.example", bytes_in=9)
        for event in events[20:80]
    ]
    store.append([*events[50:], *revised])
    store.append(events)
    final = {event.event_id: event for event in [*events, *revised]}.values()
    for end in ENDS:
        for metric in NUMBERS:
            how = Aggregation(by=(end,), metric=metric)
            found = store.aggregate(EventFilter(), how, 999)
            assert sorted(found, key=str) == sorted(counted(list(final), EventFilter(), how), key=str)


def test_what_is_forgotten_is_taken_off(store: Store) -> None:
    store.append(make_events())
    before = everything(store)
    store.append([make_event(900 + number, sensor_id=DEMONSTRATION, src_ip="10.0.0.1") for number in range(9)])
    assert everything(store) != before
    store.forget_events_of(DEMONSTRATION)
    assert everything(store) == before


def test_days_leave_once_they_are_over(store: Store) -> None:
    store.append(make_events())
    by_day = Aggregation(by=(Dimension.SRC,), interval_ns=DAY_NS)
    before = store.aggregate(EventFilter(), by_day, 999)
    assert store.retention.purge(Aging.DAILY_SUMS, START_NS + DAY_NS) > 0
    left = [group for group in before if group.start_ns is not None and group.start_ns >= START_NS]
    assert store.aggregate(EventFilter(), by_day, 999) == left


@pytest.mark.parametrize("changes", [{}, {"dst_name": "c.tunnel.example", "role": Role.UNCLEAR}], ids=["more", "other"])
def test_what_left_stays_away_when_its_event_goes_on(store: Store, changes: dict[str, object]) -> None:
    events = make_events()
    store.append(events)
    cut_ns = START_NS + 2 * DAY_NS
    for what in (Aging.SUMS, Aging.DAILY_SUMS):
        assert store.retention.purge(what, cut_ns) > 0
    by = (Dimension.SRC, Dimension.DST, Dimension.SERVICE)
    hows = [Aggregation(by=(dimension,), metric=Metric.SIGHTINGS) for dimension in by]
    before = [store.aggregate(EventFilter(), how, 999) for how in hows]
    old = [event for event in events if event.observed_at_ns < cut_ns - DAY_NS]
    store.append([msgspec.structs.replace(event, revision=2, count=event.count + 3, **changes) for event in old])
    assert [store.aggregate(EventFilter(), how, 999) for how in hows] == before
    store.forget_events_of("gateway-1")
    assert everything(store) == [[]] * len(everything(store))


def test_an_upgrade_fills_the_sums(path: Path) -> None:
    with open_store(path) as store:
        store.append(make_events())
        before = everything(store)
    engine = connect_engine(parse_location(path))
    config = Config()
    config.set_main_option("script_location", str(version.MIGRATIONS))
    config.set_main_option("path_separator", "os")
    with writing(engine) as connection:  # as the version before the sums left it
        config.attributes["connection"] = connection
        command.downgrade(config, "mc0019")
    version.upgrade(engine)
    engine.dispose()
    with open_store(path) as store:
        assert everything(store) == before
