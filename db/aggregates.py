"""Events counted by what they have in common."""

from typing import Any

from sqlalchemy import ColumnElement, Connection, func, select

from db.filters import event_conditions
from db.models import EventRow
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
_METRICS: dict[Metric, ColumnElement[int]] = {
    Metric.EVENTS: func.count(),
    Metric.SIGHTINGS: func.sum(_EVENTS.count),
    Metric.BYTES: func.sum(_EVENTS.bytes_out + _EVENTS.bytes_in),
    Metric.SOURCES: func.count(_EVENTS.src_ip.distinct()),
}


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
    rows = connection.execute(query.where(*event_conditions(wanted)).order_by(*order).limit(limit))
    if how.interval_ns:
        return [Group(start_ns, tuple(values), int(total or 0)) for start_ns, total, *values in rows]
    return [Group(None, tuple(values), int(total or 0)) for total, *values in rows]
