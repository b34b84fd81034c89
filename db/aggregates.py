"""Events counted by what they have in common."""

from typing import Any

from sqlalchemy import ColumnElement, Connection, func, select

from db.facets import HOUR_NS, facet_conditions
from db.filters import between, event_conditions
from db.models import EventRow, FacetRow, RollupRow
from db.values import Aggregation, Dimension, EventFilter, Group, Metric

_EVENTS = EventRow.metadata.tables[EventRow.__tablename__].c
_DIMENSIONS = {
    Dimension.SERVICE: _EVENTS.service,
    Dimension.VERDICT: _EVENTS.verdict,
    Dimension.ROLE: _EVENTS.role,
    Dimension.SEVERITY: _EVENTS.severity,
    Dimension.STATE: _EVENTS.state,
    Dimension.SRC: _EVENTS.src_ip,
    Dimension.DST: _EVENTS.dst_name,
    Dimension.SENSOR: _EVENTS.sensor_id,
}
HOURLY = frozenset(Dimension) - {Dimension.SRC, Dimension.DST}
_SUMS = {Metric.EVENTS: "events", Metric.SIGHTINGS: "sightings", Metric.BYTES: "octets"}
_METRICS: dict[Metric, ColumnElement[int]] = {
    Metric.EVENTS: func.count(),
    Metric.SIGHTINGS: func.sum(_EVENTS.count),
    Metric.BYTES: func.sum(_EVENTS.bytes_out + _EVENTS.bytes_in),
    Metric.SOURCES: func.count(_EVENTS.src_ip.distinct()),
}


def aggregate_hours(connection: Connection, wanted: EventFilter, how: Aggregation, limit: int) -> list[Group]:
    """Return what `aggregate` does, of the hourly sums; see `is_hourly` for what can be asked of them."""
    facets = FacetRow.metadata.tables[FacetRow.__tablename__]
    sums = RollupRow.metadata.tables[RollupRow.__tablename__]
    columns = {Dimension.SENSOR: facets.c.sensor_id} | {
        dimension: facets.c[dimension.value] for dimension in HOURLY if dimension is not Dimension.SENSOR
    }
    value = func.sum(sums.c[_SUMS[how.metric]]).label("value")
    keys: list[ColumnElement[Any]] = [func.nullif(columns[dimension], "") for dimension in how.by]
    starts = [(sums.c.hour_ns - sums.c.hour_ns % how.interval_ns).label("start")] if how.interval_ns else []
    query = select(*starts, value, *keys).select_from(sums.join(facets, facets.c.facet_id == sums.c.facet_id))
    query = query.where(*facet_conditions(wanted), *between(sums.c.hour_ns, wanted.from_ns, wanted.to_ns))
    query = query.group_by(*starts, *keys).having(func.sum(sums.c.events) > 0)
    rows = connection.execute(query.order_by(*starts, value.desc(), *keys).limit(limit))
    if how.interval_ns:
        return [Group(start_ns, tuple(values), int(total or 0)) for start_ns, total, *values in rows]
    return [Group(None, tuple(values), int(total or 0)) for total, *values in rows]


def is_hourly(wanted: EventFilter, how: Aggregation) -> bool:
    """Tell whether the hourly sums answer this: whole hours, facets only, nothing of single sources."""
    whole = (wanted.from_ns or 0, wanted.to_ns or 0, how.interval_ns or 0)
    return (
        how.metric in _SUMS
        and set(how.by) <= HOURLY
        and not (wanted.src or wanted.dst or wanted.q)
        and all(number % HOUR_NS == 0 for number in whole)
    )


def aggregate(connection: Connection, wanted: EventFilter, how: Aggregation, limit: int) -> list[Group]:
    """Return up to `limit` groups: intervals in order, within each (or overall) the highest value first.

    Reads every event of the filter once, along its time index where the filter has a window.
    """
    value = _METRICS[how.metric].label("value")
    keys: list[ColumnElement[Any]] = [_DIMENSIONS[dimension] for dimension in how.by]
    if how.interval_ns:
        start = (_EVENTS.observed_at_ns - _EVENTS.observed_at_ns % how.interval_ns).label("start")
        order: list[ColumnElement[Any]] = [start, value.desc(), *keys]
        query = select(start, value, *keys).group_by(start, *keys)
    else:
        order = [value.desc(), *keys]
        query = select(value, *keys).group_by(*keys)
    query = query.select_from(EventRow.__table__).where(*event_conditions(wanted))
    rows = connection.execute(query.order_by(*order).limit(limit))
    if how.interval_ns:
        return [Group(start_ns, tuple(values), int(total or 0)) for start_ns, total, *values in rows]
    return [Group(None, tuple(values), int(total or 0)) for total, *values in rows]
