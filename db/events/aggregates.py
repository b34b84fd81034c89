"""Events counted by what they have in common: whole hours or days by their sums, the rest of a window by its events."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import ColumnElement, Connection, FromClause, Row, Select, func, null, select, union_all

from db.events.facets import facet_conditions
from db.events.filters import event_conditions
from db.schema.models import EventRow, FacetRow
from db.schema.sum_models import DAY_NS, HOUR_NS, DailySumRow, RollupRow, SourceRow
from db.sql.conditions import between
from db.values import Aggregation, Dimension, EventFilter, Group, Metric, ServiceCount

_EVENTS = EventRow.metadata.tables[EventRow.__tablename__].c
_FACETS = FacetRow.metadata.tables[FacetRow.__tablename__].c
_ROLLUPS = RollupRow.metadata.tables[RollupRow.__tablename__].c
_DAYS = DailySumRow.metadata.tables[DailySumRow.__tablename__].c
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
_METRICS: dict[Metric, ColumnElement[int]] = {
    Metric.EVENTS: func.count(),
    Metric.SIGHTINGS: func.sum(_EVENTS.count),
    Metric.BYTES: func.sum(_EVENTS.bytes_out + _EVENTS.bytes_in),
    Metric.SOURCES: func.count(_EVENTS.src_ip.distinct()),
}


class _Sums(NamedTuple):
    """Rows that hold the sums of `step_ns` each from `start_ns` on, and what they can be counted by."""

    step_ns: int
    start_ns: ColumnElement[int]
    rows: FromClause
    dimensions: dict[Dimension, ColumnElement[Any]]
    metrics: dict[Metric, ColumnElement[int]]


def _metrics_of(columns: Any) -> dict[Metric, ColumnElement[int]]:
    return {
        Metric.EVENTS: func.sum(columns.events),
        Metric.SIGHTINGS: func.sum(columns.sightings),
        Metric.BYTES: func.sum(columns.octets),
    }


_BY_HOUR = _Sums(
    HOUR_NS,
    _ROLLUPS.hour_ns,
    RollupRow.__table__.join(FacetRow.__table__, _FACETS.facet_id == _ROLLUPS.facet_id),
    {
        Dimension.SERVICE: func.nullif(_FACETS.service, ""),
        Dimension.VERDICT: _FACETS.verdict,
        Dimension.ROLE: _FACETS.role,
        Dimension.SEVERITY: _FACETS.severity,
        Dimension.STATE: _FACETS.state,
        Dimension.SENSOR: _FACETS.sensor_id,
    },
    _metrics_of(_ROLLUPS),
)
_BY_DAY = _Sums(
    DAY_NS,
    _DAYS.day_ns,
    DailySumRow.__table__,
    {Dimension.SRC: _DAYS.value, Dimension.DST: func.nullif(_DAYS.value, "")},
    _metrics_of(_DAYS),
)


def aggregate(connection: Connection, wanted: EventFilter, how: Aggregation, limit: int) -> list[Group]:
    """Return up to `limit` groups: intervals in order, within each (or overall) the highest value first.

    What has sums (`sums_for`) reads the events of two hours at most, or two days; all else each event of the filter.
    """
    rows = connection.execute(_query(connection, wanted, how).limit(limit))
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
        for row in connection.execute(_query(connection, window, how))
        for service in _values(row, how)
    ]
    return sorted(counts, key=lambda count: (-count.events, count.service or ""))


def sums_for(wanted: EventFilter, how: Aggregation) -> _Sums | None:
    """Return the sums that can answer this, None where only the events can.

    Those by hour know nothing of single sources and names, those by day nothing else: of one or the other, unfiltered.
    """
    is_of_day = len(how.by) == 1 and how.by[0] in _BY_DAY.dimensions
    sums = _BY_DAY if is_of_day else _BY_HOUR
    is_known = how.metric in sums.metrics and set(how.by) <= sums.dimensions.keys()
    is_filtered = wanted.src or wanted.dst or wanted.q or (is_of_day and facet_conditions(wanted))
    return sums if is_known and not is_filtered and (how.interval_ns or 0) % sums.step_ns == 0 else None


def _query(connection: Connection, wanted: EventFilter, how: Aggregation) -> Select[Any]:
    """Return a query of `start`, `value0` and so on, `number` (of events) and `total` (of the metric) of each group."""
    is_of_users = _is_of_users(wanted, how) and _is_until_now(connection, wanted)
    found = [_of_users(wanted, how)] if is_of_users else _parts(wanted, how)
    parts = union_all(*found).subquery("parts").c
    keys = [parts.start, *(parts[f"value{place}"] for place in range(len(how.by)))]
    number, total = func.sum(parts.number).label("number"), func.sum(parts.total).label("total")
    query = select(*keys, number, total).group_by(*keys).order_by(keys[0], total.desc(), *keys[1:])
    return query.having(number > 0) if how.by or how.interval_ns else query


def _parts(wanted: EventFilter, how: Aggregation) -> Iterator[Select[Any]]:
    """Yield the queries of the parts that make up the window."""
    sums = sums_for(wanted, how)
    step_ns = sums.step_ns if sums else 1
    first_ns = -(-(wanted.from_ns or 0) // step_ns) * step_ns
    last_ns = None if wanted.to_ns is None else wanted.to_ns // step_ns * step_ns
    if sums is None or (last_ns is not None and last_ns <= first_ns):
        yield _of_events(wanted, how)
        return
    yield _of_sums(sums, msgspec.structs.replace(wanted, from_ns=first_ns, to_ns=last_ns), how)
    if first_ns != (wanted.from_ns or 0):
        yield _of_events(msgspec.structs.replace(wanted, to_ns=first_ns), how)
    if last_ns != wanted.to_ns:
        yield _of_events(msgspec.structs.replace(wanted, from_ns=last_ns), how)


def _of_events(wanted: EventFilter, how: Aggregation) -> Select[Any]:
    keys = [_start(_EVENTS.observed_at_ns, how), *_labelled(_DIMENSIONS, how)]
    numbers = func.count().label("number"), _METRICS[how.metric].label("total")
    query = select(*keys, *numbers).select_from(EventRow.__table__).where(*event_conditions(wanted))
    return query.group_by(*keys) if how.by or how.interval_ns else query


def _of_sums(sums: _Sums, wanted: EventFilter, how: Aggregation) -> Select[Any]:
    keys = [_start(sums.start_ns, how), *_labelled(sums.dimensions, how)]
    numbers = sums.metrics[Metric.EVENTS].label("number"), sums.metrics[how.metric].label("total")
    of_what = [_DAYS.dimension == how.by[0].value] if sums is _BY_DAY else facet_conditions(wanted)
    window = between(sums.start_ns, wanted.from_ns, wanted.to_ns)
    query = select(*keys, *numbers).select_from(sums.rows).where(*of_what, *window)
    return query.group_by(*keys) if how.by or how.interval_ns else query


def _is_of_users(wanted: EventFilter, how: Aggregation) -> bool:
    """Tell whether who uses which service says it all."""
    others = wanted.src or wanted.dst or wanted.q or facet_conditions(msgspec.structs.replace(wanted, service=None))
    is_by_service = how.by in {(), (Dimension.SERVICE,)} and not how.interval_ns
    return how.metric is Metric.SOURCES and is_by_service and not others


def _of_users(wanted: EventFilter, how: Aggregation) -> Select[Any]:
    service = func.nullif(_SOURCES.service, "")
    keys = [_start(_SOURCES.observed_at_ns, how), *_labelled({Dimension.SERVICE: service}, how)]
    numbers = func.count().label("number"), func.count(_SOURCES.src_ip.distinct()).label("total")
    query = select(*keys, *numbers).where(*between(_SOURCES.observed_at_ns, wanted.from_ns, None))
    if wanted.service is not None:
        query = query.where(_SOURCES.service == wanted.service)
    return query.group_by(*keys) if how.by else query


def _is_until_now(connection: Connection, window: EventFilter) -> bool:
    """Tell whether no event is newer than the window."""
    newest_ns = connection.execute(select(func.max(_EVENTS.observed_at_ns))).scalar_one()
    return newest_ns is None or window.to_ns is None or newest_ns < window.to_ns


def _start(at_ns: ColumnElement[int], how: Aggregation) -> ColumnElement[Any]:
    return (at_ns - at_ns % how.interval_ns if how.interval_ns else null()).label("start")


def _labelled(columns: dict[Dimension, ColumnElement[Any]], how: Aggregation) -> list[ColumnElement[Any]]:
    return [columns[dimension].label(f"value{place}") for place, dimension in enumerate(how.by)]


def _values(row: Row[Any], how: Aggregation) -> tuple[str | None, ...]:
    return tuple(row[1 : 1 + len(how.by)])


def _users(connection: Connection, window: EventFilter) -> Select[Any]:
    """Return a query of each service with how many sources it had in the window, and when it was last seen."""
    if _is_until_now(connection, window):
        service = func.nullif(_SOURCES.service, "")
        query = select(service, func.count(), func.max(_SOURCES.last_seen_ns))
        return query.where(_SOURCES.observed_at_ns >= window.from_ns).group_by(service)
    query = select(_EVENTS.service, func.count(_EVENTS.src_ip.distinct()), func.max(_EVENTS.last_seen_ns))
    return query.where(*event_conditions(window)).group_by(_EVENTS.service)
