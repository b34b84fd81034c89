"""Filters of events as SQL conditions."""

from sqlalchemy import ColumnElement, FromClause

from db.schema.models import EventRow
from db.sql.conditions import between, contains, equal, of_address
from db.sql.networks import network_of
from db.values import EventFilter
from rules.matching.names import fold, is_address
from rules.values.observation import STATES, Action

_EVENTS = EventRow.metadata.tables[EventRow.__tablename__].c


def event_conditions(wanted: EventFilter) -> list[ColumnElement[bool]]:
    """Return what an event must fulfil, all of it."""
    found = end_conditions(wanted) + equal(
        {
            _EVENTS.verdict: wanted.verdict,
            _EVENTS.role: wanted.role,
            _EVENTS.severity: wanted.severity,
            _EVENTS.state: wanted.state,
            _EVENTS.sensor_id: wanted.sensor,
        }
    )
    found += between(_EVENTS.observed_at_ns, wanted.from_ns, wanted.to_ns)
    if wanted.action is not None:
        found += equal({_EVENTS.state: STATES[wanted.action]})
    if wanted.action in {Action.BLOCKED, Action.REJECTED}:
        is_refused = _EVENTS.refusal.is_not(None)
        found.append(is_refused if wanted.action is Action.REJECTED else ~is_refused)
    if wanted.service is not None:
        found.append(_EVENTS.service == wanted.service if wanted.service else _EVENTS.service.is_(None))
    if wanted.q:
        sources = (_EVENTS.src_ip,) if wanted.q_finds_sources else ()
        found.append(contains(wanted.q, _EVENTS.dst_name, _EVENTS.service, *sources))
    return found


def end_conditions(wanted: EventFilter, table: FromClause = EventRow.__table__) -> list[ColumnElement[bool]]:
    """Return what the two ends of an event of `table` must fulfil."""
    found = of_address(table.c.src_ip, wanted.src)
    if wanted.dst is not None and not is_address(wanted.dst) and network_of(wanted.dst) is None:
        return [*found, table.c.dst_name == fold(wanted.dst)]
    return found + of_address(table.c.dst_ip, wanted.dst)
