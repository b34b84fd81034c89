"""Pages of any filter over few values are put together from facets, and follow the events."""

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from query_plans import plans, statements
from sqlalchemy import Engine
from sqlalchemy.dialects import sqlite as dialect
from stored_events import SECOND_NS, T0_NS, make_event, received

from db.events.events import page_query
from db.schema import version
from db.sql.engine import connect_engine, parse_location, writing
from db.store import Store, open_store
from db.values import Aggregation, Dimension, EventCursor, EventFilter, Metric
from rules.values.direction import Direction
from rules.values.observation import Action, FlowState, Refusal
from rules.values.verdict import Outcome, Role, Severity

HOUR_NS = 3600 * SECOND_NS
VERDICTS = (Outcome.SANCTIONED, Outcome.UNSANCTIONED, Outcome.SUSPICIOUS)
SERVICES = ("ngrok", "frp", None)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    chance = random.Random(1)
    with open_store(tmp_path_factory.mktemp("facets") / "events.db", now_ns=received) as store:
        store.append(
            [
                make_event(
                    number,
                    observed_at_ns=T0_NS + number // 3 * 60 * SECOND_NS,
                    verdict=chance.choice(VERDICTS),
                    service=chance.choice(SERVICES),
                    role=chance.choice([Role.AGENT, Role.VISITOR]),
                    severity=chance.choice(list(Severity)),
                    state=chance.choice(list(FlowState)),
                    refusal=chance.choice([None, *Refusal]),
                    sensor_id=chance.choice(["a", "b"]),
                    count=chance.randrange(1, 9),
                    bytes_out=number,
                )
                for number in range(1, 1500)
            ]
        )
        yield store


OWN_INDEX = {"verdict", "service", "from_ns", "to_ns"}
FILTERS = (
    {"verdict": Outcome.SUSPICIOUS},
    {"role": Role.VISITOR, "state": FlowState.LIVE},
    {"severity": Severity.LOW, "sensor": "b", "service": ""},
    {"service": "frp", "verdict": Outcome.SANCTIONED, "role": Role.AGENT, "severity": Severity.HIGH},
    {"action": Action.REJECTED},
    {"action": Action.BLOCKED, "service": "frp"},
    {"action": Action.ALLOWED, "state": FlowState.LIVE, "src": "10.20.0.7"},
    {"sensor": "nowhere"},
    {"src": "10.20.0.7", "verdict": Outcome.SUSPICIOUS, "state": FlowState.BLOCKED},
    {"src": "10.20.0.9", "verdict": Outcome.SUSPICIOUS},
    {"service": "ngrok", "from_ns": T0_NS + 2 * HOUR_NS, "to_ns": T0_NS + 5 * HOUR_NS},
)


@pytest.mark.parametrize("fields", FILTERS, ids=str)
def test_pages_are_what_a_plain_walk_gives(large: Store, fields: dict[str, object]) -> None:
    wanted = EventFilter(**fields)  # type: ignore[arg-type]  # fields come by name
    everything = [event for event in large.events(EventFilter(), 5000) if passes(event, fields)]
    found, after = [], None
    while page := large.events(wanted, 7, after):
        found += page
        after = EventCursor.of(page[-1])
    assert found == everything
    assert bool(found) == (not {"nowhere", "10.20.0.9"} & set(fields.values()))


def passes(event: object, fields: dict[str, object]) -> bool:
    names = {"sensor": "sensor_id", "src": "src_ip", "from_ns": "observed_at_ns", "to_ns": "observed_at_ns"}
    for name, value in fields.items():
        held = getattr(event, names.get(name, name))
        if name == "from_ns":
            is_right = held >= value
        elif name == "to_ns":
            is_right = held < value
        else:
            is_right = (held or "") == value
        if not is_right:
            return False
    return True


@pytest.mark.parametrize("part", ["ROK", "connect.NGROK", "20.0.7", "nowhere", "%", "r"])
@pytest.mark.parametrize(
    "more", [{}, {"verdict": Outcome.SUSPICIOUS}, {"src": "10.20.0.7"}, {"src": "10.16.0.0/12"}], ids=str
)
def test_a_part_of_a_name_finds_what_a_plain_walk_finds(
    large: Store, part: str, more: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = EventFilter(q=part, **more)  # type: ignore[arg-type]  # fields come by name
    cursor = EventCursor(T0_NS + HOUR_NS, "")
    found = [large.events(wanted, 50, after) for after in (None, cursor)]
    monkeypatch.setattr("db.events.search.MAX_FOUND", -1)
    assert [large.events(wanted, 50, after) for after in (None, cursor)] == found
    assert bool(found[0]) == (part not in {"nowhere", "%"})


@pytest.mark.parametrize("more", [{}, {"src": "10.20.0.7"}, {"src": "10.16.0.0/12"}], ids=str)
def test_where_nothing_holds_a_part_no_event_is_read(large: Store, more: dict[str, str]) -> None:
    with statements(large) as noted:
        assert large.events(EventFilter(q="nowhere", **more), 50) == []  # type: ignore[arg-type]  # fields come by name
    read = [statement for statement, _ in noted if "FROM" in statement]
    assert all("RECURSIVE walk" in statement or "FROM facets" in statement for statement in read), read


@pytest.mark.parametrize("fields", [row for row in FILTERS if not OWN_INDEX.issuperset(row)], ids=str)
def test_each_facet_is_read_along_one_index(large: Store, fields: dict[str, object]) -> None:
    wanted = EventFilter(**fields)  # type: ignore[arg-type]  # fields come by name
    with large._engine.connect() as connection:
        for after in (None, EventCursor(T0_NS + HOUR_NS, "")):
            query = page_query(connection, wanted, 100, after)
            statement = query.compile(dialect=dialect.dialect(), compile_kwargs={"render_postcompile": True})
            names = statement.positiontup or []
            parameters = tuple(statement.params[name] for name in names)
            plan = [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)]
            text = "\n".join(plan)
            index = "ix_events_src_ip_facet_id_observed_at_ns_event_id (src_ip=? AND facet_id=?"
            plain = "ix_events_facet_id_observed_at_ns_event_id (facet_id=?"
            assert f"USING COVERING INDEX {index if 'src' in fields else plain}" in text, text
            assert "SCAN events" not in text, text
            assert not any(line.startswith("SCAN each_facet") for line in plan), text


@pytest.mark.parametrize(
    ("fields", "index"),
    [
        ({"verdict": Outcome.SUSPICIOUS}, "ix_events_verdict_observed_at_ns_event_id (verdict=?"),
        ({"service": "ngrok"}, "ix_events_service_observed_at_ns_event_id (service=?"),
        ({"service": "", "from_ns": T0_NS}, "ix_events_service_observed_at_ns_event_id (service=?"),
    ],
    ids=str,
)
def test_what_has_an_index_of_its_own_is_read_along_it(large: Store, fields: dict[str, object], index: str) -> None:
    wanted = EventFilter(**fields)  # type: ignore[arg-type]  # fields come by name
    for after in (None, EventCursor(T0_NS + HOUR_NS, "")):
        with statements(large) as noted:
            large.events(wanted, 100, after)
        (plan,) = plans(large, noted)
        assert f"SEARCH events USING INDEX {index}" in plan


def test_a_revision_moves_an_event_to_its_new_facet(store: Store) -> None:
    store.append([make_event(1, state=FlowState.LIVE, count=2), make_event(2, state=FlowState.LIVE)])
    store.append([make_event(1, state=FlowState.BLOCKED, count=5, revision=2, bytes_in=7)])
    how = Aggregation(by=(Dimension.STATE,), metric=Metric.SIGHTINGS)
    assert {group.values[0]: group.value for group in store.aggregate(EventFilter(), how, 10)} == {
        "blocked": 5,
        "live": 1,
    }
    assert [event.event_id for event in store.events(EventFilter(state=FlowState.BLOCKED), 10)] == [
        make_event(1).event_id
    ]


def test_an_upgrade_fills_facets_and_sums(path: Path) -> None:
    with open_store(path, now_ns=received) as store:
        store.append([make_event(number, service=SERVICES[number % 3]) for number in range(1, 50)])
        before = answers(store)
    engine = connect_engine(parse_location(path))
    migrate(engine, command.downgrade, "mc0013")  # as the version before facets left it
    version.upgrade(engine)
    engine.dispose()
    with open_store(path, now_ns=received) as store:
        assert answers(store) == before


def test_an_upgrade_knows_what_was_done_by_the_state_and_who_refused_from_then_on(path: Path) -> None:
    blocked = {"state": FlowState.BLOCKED, "refusal": Refusal.RESET, "direction": Direction.OUTBOUND, "site": "Berlin"}
    with open_store(path, now_ns=received) as store:
        store.append([make_event(1), make_event(2, state=FlowState.BLOCKED), make_event(3, **blocked)])
        assert actions(store) == {"allowed": [1], "blocked": [2], "rejected": [3], "observed": []}
    engine = connect_engine(parse_location(path))
    migrate(engine, command.downgrade, "mc0020")
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT count(*), sum(facet_id = 1) FROM facets").one() == (2, 1)
        assert connection.exec_driver_sql("SELECT sum(events) FROM rollups").scalar_one() == 3
    version.upgrade(engine)
    engine.dispose()
    with open_store(path, now_ns=received) as store:
        assert actions(store) == {"allowed": [1], "blocked": [2, 3], "rejected": [], "observed": []}
        assert store.event(make_event(3).event_id) == make_event(3, state=FlowState.BLOCKED, received_at_ns=None)
        store.append([make_event(3, revision=2, **blocked), make_event(4, state=FlowState.ATTEMPTED)])
        assert actions(store) == {"allowed": [1], "blocked": [2], "rejected": [3], "observed": [4]}


def actions(store: Store) -> dict[str, list[int]]:
    """Return the numbers of the events of each action, as pages and as counts have them."""
    found = {}
    for action in Action:
        events = store.events(EventFilter(action=action), 10)
        (counted,) = store.aggregate(EventFilter(action=action), Aggregation(), 1)
        assert (counted.value, {event.action for event in events} <= {action}) == (len(events), True)
        found[action.value] = sorted(int(event.event_id[-12:], 16) for event in events)
    return found


def migrate(engine: Engine, how: Callable[[Config, str], None], revision: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(version.MIGRATIONS))
    config.set_main_option("path_separator", "os")
    with writing(engine) as connection:
        config.attributes["connection"] = connection
        how(config, revision)


def answers(store: Store) -> tuple[object, ...]:
    how = Aggregation(by=(Dimension.SERVICE,), interval_ns=HOUR_NS)
    end_ns = T0_NS + HOUR_NS
    return (
        store.aggregate(EventFilter(), how, 100),
        [event.event_id for event in store.events(EventFilter(service=""), 100)],
        store.service_counts(0, end_ns),
    )
