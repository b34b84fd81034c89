"""Events counted by what they have in common: whole hours by their sums, the rest of a window by its events."""

from collections.abc import Iterator
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Connection, Row, Select, func, null, select, union_all

from db.facets import facet_conditions
from db.filters import between, event_conditions
from db.models import EventRow, FacetRow, RollupRow, SourceRow
from db.sums import HOUR_NS
from db.values import Aggregation, Dimension, EventFilter, Group, Metric, ServiceCount

_EVENTS = EventRow.metadata.tables[EventRow.__tablename__].c
_FACETS = FacetRow.metadata.tables[FacetRow.__tablename__].c
_ROLLUPS = RollupRow.metadata.tables[RollupRow.__tablename__].c
_SOURCES = SourceRow.metadata.tables[SourceRow.__tablename__].c
_DIMENSIONS: dict[Dimension, ColumnElement[Any]] = {
    Dimension.SERVICE: _EVENTS.service,
    Dimension.VERDICT: _EVENTS.verdict,
    Dimension.ROLE: _EVENTS.role,
    Dimension.SEVERITY: _EVENTS.severity,
    Dimension.STATE: _EVENTS.state,
    Dimension.SRC: _EVENTS.src_ip,
    Dimension.DST: _EVENTS.dst_name,
    Dimension.SENSOR: _EVENTS.sensor_id,
}
_SUMMED_DIMENSIONS: dict[Dimension, ColumnElement[Any]] = {
    Dimension.SERVICE: func.nullif(_FACETS.service, ""),
    Dimension.VERDICT: _FACETS.verdict,
    Dimension.ROLE: _FACETS.role,
    Dimension.SEVERITY: _FACETS.severity,
    Dimension.STATE: _FACETS.state,
    Dimension.SENSOR: _FACETS.sensor_id,
}
_METRICS: dict[Metric, ColumnElement[int]] = {
    Metric.EVENTS: func.count(),
    Metric.SIGHTINGS: func.sum(_EVENTS.count),
    Metric.BYTES: func.sum(_EVENTS.bytes_out + _EVENTS.bytes_in),
    Metric.SOURCES: func.count(_EVENTS.src_ip.distinct()),
}
_SUMMED_METRICS: dict[Metric, ColumnElement[int]] = {
    Metric.EVENTS: func.sum(_ROLLUPS.events),
    Metric.SIGHTINGS: func.sum(_ROLLUPS.sightings),
    Metric.BYTES: func.sum(_ROLLUPS.octets),
}


def aggregate(connection: Connection, wanted: EventFilter, how: Aggregation, limit: int) -> list[Group]:
    """Return up to `limit` groups: intervals in order, within each (or overall) the highest value first.

    What `is_summed` reads the events of two hours at most; all else reads each event of the filter.
    """
    rows = connection.execute(_query(wanted, how).limit(limit))
    return [Group(row.start, _values(row, how), int(row.total or 0)) for row in rows]


def service_counts(connection: Connection, from_ns: int, to_ns: int) -> list[ServiceCount]:
    """Return the counts of each service observed in the window, the busiest first.

    Reads each event of a window that ends before the newest event, to know which sources it had.
    """
    window = EventFilter(from_ns=from_ns, to_ns=to_ns)
    how = Aggregation(by=(Dimension.SERVICE,), metric=Metric.SIGHTINGS)
    users = {row[0]: (row[1], row[2]) for row in connection.execute(_users(connection, window))}
    counts = [
        ServiceCount(service, row.number, int(row.total), *users.get(service, (0, 0)))
        for row in connection.execute(_query(window, how))
        for service in _values(row, how)
    ]
    return sorted(counts, key=lambda count: (-count.events, count.service or ""))


def is_summed(wanted: EventFilter, how: Aggregation) -> bool:
    """Tell whether sums by hour and facet can answer this: nothing of single sources or names, no parts of hours."""
    return (
        how.metric in _SUMMED_METRICS
        and set(how.by) <= _SUMMED_DIMENSIONS.keys()
        and not (wanted.src or wanted.dst or wanted.q)
        and (how.interval_ns or 0) % HOUR_NS == 0
    )


def _query(wanted: EventFilter, how: Aggregation) -> Select[Any]:
    """Return a query of `start`, `value0` and so on, `number` (of events) and `total` (of the metric) of each group."""
    parts = union_all(*_parts(wanted, how)).subquery("parts").c
    keys = [parts.start, *(parts[f"value{place}"] for place in range(len(how.by)))]
    number, total = func.sum(parts.number).label("number"), func.sum(parts.total).label("total")
    query = select(*keys, number, total).group_by(*keys).order_by(keys[0], total.desc(), *keys[1:])
    return query.having(number > 0) if how.by or how.interval_ns else query


def _parts(wanted: EventFilter, how: Aggregation) -> Iterator[Select[Any]]:
    """Yield the queries of the parts that make up the window."""
    first_ns = -(-(wanted.from_ns or 0) // HOUR_NS) * HOUR_NS
    last_ns = None if wanted.to_ns is None else wanted.to_ns // HOUR_NS * HOUR_NS
    if not is_summed(wanted, how) or (last_ns is not None and last_ns <= first_ns):
        yield _of_events(wanted, how)
        return
    yield _of_sums(msgspec.structs.replace(wanted, from_ns=first_ns, to_ns=last_ns), how)
    if first_ns != (wanted.from_ns or 0):
        yield _of_events(msgspec.structs.replace(wanted, to_ns=first_ns), how)
    if last_ns != wanted.to_ns:
        yield _of_events(msgspec.structs.replace(wanted, from_ns=last_ns), how)


def _of_events(wanted: EventFilter, how: Aggregation) -> Select[Any]:
    keys = [_start(_EVENTS.observed_at_ns, how), *_labelled(_DIMENSIONS, how)]
    numbers = func.count().label("number"), _METRICS[how.metric].label("total")
    query = select(*keys, *numbers).select_from(EventRow.__table__).where(*event_conditions(wanted))
    return query.group_by(*keys) if how.by or how.interval_ns else query


def _of_sums(wanted: EventFilter, how: Aggregation) -> Select[Any]:
    keys = [_start(_ROLLUPS.hour_ns, how), *_labelled(_SUMMED_DIMENSIONS, how)]
    numbers = func.sum(_ROLLUPS.events).label("number"), _SUMMED_METRICS[how.metric].label("total")
    tables = RollupRow.__table__.join(FacetRow.__table__, _FACETS.facet_id == _ROLLUPS.facet_id)
    window = between(_ROLLUPS.hour_ns, wanted.from_ns, wanted.to_ns)
    query = select(*keys, *numbers).select_from(tables).where(*facet_conditions(wanted), *window)
    return query.group_by(*keys) if how.by or how.interval_ns else query


def _start(at_ns: ColumnElement[int], how: Aggregation) -> ColumnElement[Any]:
    return (at_ns - at_ns % how.interval_ns if how.interval_ns else null()).label("start")


def _labelled(columns: dict[Dimension, ColumnElement[Any]], how: Aggregation) -> list[ColumnElement[Any]]:
    return [columns[dimension].label(f"value{place}") for place, dimension in enumerate(how.by)]


def _values(row: Row[Any], how: Aggregation) -> tuple[str | None, ...]:
    return tuple(row[1 : 1 + len(how.by)])


def _users(connection: Connection, window: EventFilter) -> Select[Any]:
    """Return a query of each service with how many sources it had in the window, and when it was last seen."""
    newest_ns = connection.execute(select(func.max(_EVENTS.observed_at_ns))).scalar_one()
    if newest_ns is None or newest_ns < (window.to_ns or 0):
        service = func.nullif(_SOURCES.service, "")
        query = select(service, func.count(), func.max(_SOURCES.last_seen_ns))
        return query.where(_SOURCES.observed_at_ns >= window.from_ns).group_by(service)
    query = select(_EVENTS.service, func.count(_EVENTS.src_ip.distinct()), func.max(_EVENTS.last_seen_ns))
    return query.where(*event_conditions(window)).group_by(_EVENTS.service)
