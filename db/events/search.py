"""What a part of a name or a network may stand for: the values that hold it, found without reading the events.

The distinct values of a column are walked along its index, a seek each. Where there are many of them, or many hold the
text, the answer is None: then the events themselves, the newest first, soon fill a page.
"""

from collections.abc import Callable
from functools import partial

import msgspec
from sqlalchemy import ColumnElement, Connection, func, or_, select

from db.schema.models import EventRow, FacetRow
from db.sql.networks import EVERYTHING, Bounds, bounds, in_network, network_of
from db.values import EventFilter

MAX_VALUES = 20_000
MAX_FOUND = 20
_EVENTS = EventRow.metadata.tables[EventRow.__tablename__]
_FACETS = FacetRow.metadata.tables[FacetRow.__tablename__]


def holders(connection: Connection, wanted: EventFilter) -> list[ColumnElement[bool]] | None:
    """Return a condition, each along an index, for every value that holds `wanted.q`; None where they are too many."""
    found: list[ColumnElement[bool]] = []
    for column in (_EVENTS.c.dst_name, *((_EVENTS.c.src_ip,) if wanted.q_finds_sources else ())):
        values = _values(connection, column, lambda value: value.icontains(wanted.q or "", autoescape=True))
        if values is None:
            return None
        found += [column == value for value in values]
    holds = _FACETS.c.service.icontains(wanted.q or "", autoescape=True)
    services = connection.execute(select(_FACETS.c.service).where(holds).distinct()).scalars()
    found += [_EVENTS.c.service == service for service in services if service]
    return found if len(found) <= MAX_FOUND else None


def members(connection: Connection, wanted: EventFilter) -> tuple[list[ColumnElement[bool]], EventFilter] | None:
    """Return a condition, each along an index, for every address in a network of `wanted`, and the rest of `wanted`.

    None where `wanted` has no network, or too many addresses are in those that it has.
    """
    for end, column in (("src", _EVENTS.c.src_ip), ("dst", _EVENTS.c.dst_ip)):
        network = network_of(getattr(wanted, end))
        if network is None:
            continue
        values = _values(connection, column, partial(in_network, network=network), bounds(network))
        if values is not None:
            return [column == value for value in values], msgspec.structs.replace(wanted, **{end: None})
    return None


def _values(
    connection: Connection,
    column: ColumnElement[str],
    is_wanted: Callable[[ColumnElement[str]], ColumnElement[bool]],
    within: Bounds = EVERYTHING,
) -> list[str] | None:
    smallest = func.min(column)
    first = select(smallest.label("value"), func.length("").label("at")).where(within.holds(column))
    walk = first.cte("walk", recursive=True)
    following = select(smallest).where(column > walk.c.value, within.holds(column)).correlate(walk).scalar_subquery()
    more = select(following, walk.c.at + 1).where(walk.c.value.is_not(None), walk.c.at <= MAX_VALUES)
    walk = walk.union_all(more)
    is_too_long = walk.c.at > MAX_VALUES
    found = or_(is_wanted(walk.c.value), is_too_long)
    rows = connection.execute(select(walk.c.value, is_too_long).where(found).limit(MAX_FOUND + 1)).all()
    if len(rows) > MAX_FOUND or any(row[1] for row in rows):
        return None
    return [row[0] for row in rows]
