"""What a part of a name may stand for: the names, sources and services that hold it, found without reading the events.

The distinct values of a column are walked along its index, a seek each. Where there are many of them, or many hold the
text, the answer is None: then the events themselves, the newest first, soon fill a page.
"""

from sqlalchemy import ColumnElement, Connection, func, or_, select

from db.models import EventRow, FacetRow
from db.values import EventFilter

MAX_VALUES = 20_000
MAX_FOUND = 20
_EVENTS = EventRow.metadata.tables[EventRow.__tablename__]
_FACETS = FacetRow.metadata.tables[FacetRow.__tablename__]


def holders(connection: Connection, wanted: EventFilter) -> list[ColumnElement[bool]] | None:
    """Return a condition, each along an index, for every value that holds `wanted.q`; None where they are too many."""
    found: list[ColumnElement[bool]] = []
    for column in (_EVENTS.c.dst_name, *((_EVENTS.c.src_ip,) if wanted.q_finds_sources else ())):
        values = _holding(connection, column, wanted.q or "")
        if values is None:
            return None
        found += [column == value for value in values]
    holds = _FACETS.c.service.icontains(wanted.q or "", autoescape=True)
    services = connection.execute(select(_FACETS.c.service).where(holds).distinct()).scalars()
    found += [_EVENTS.c.service == service for service in services if service]
    return found if len(found) <= MAX_FOUND else None


def _holding(connection: Connection, column: ColumnElement[str], part: str) -> list[str] | None:
    walk = select(func.min(column).label("value"), func.length("").label("at")).cte("walk", recursive=True)
    following = select(func.min(column)).where(column > walk.c.value).correlate(walk).scalar_subquery()
    more = select(following, walk.c.at + 1).where(walk.c.value.is_not(None), walk.c.at <= MAX_VALUES)
    walk = walk.union_all(more)
    is_too_long = walk.c.at > MAX_VALUES
    wanted = or_(walk.c.value.icontains(part, autoescape=True), is_too_long)
    rows = connection.execute(select(walk.c.value, is_too_long).where(wanted).limit(MAX_FOUND + 1)).all()
    if len(rows) > MAX_FOUND or any(row[1] for row in rows):
        return None
    return [row[0] for row in rows]
