"""Facets: the combinations of verdict, role, severity, state, action, service and sensor that events have.

There are few of them, so a page of any filter over these is put together from the newest events of each facet that it
takes, each read along one index: a filter that few events pass costs no more than one that many do.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from sqlalchemy import ColumnElement, Connection, func, insert, literal_column, select

from db.schema.models import FacetRow
from db.sql.prepared import Lookup, execute, write_rows
from db.values import EventFilter
from rules.values.event import Event
from rules.values.observation import action_of

MAX_FACETS = 256  # more than these are read in the order of time: then what is asked for is not rare
_FACETS = FacetRow.metadata.tables[FacetRow.__tablename__]


class Facet(NamedTuple):
    """One combination."""

    verdict: str
    role: str
    severity: str
    state: str
    action: str
    service: str
    sensor_id: str

    @classmethod
    def of(cls, each: Event) -> "Facet":
        """Return the facet of an event."""
        state, action = str(each.state), str(action_of(each.state, each.refusal))
        return cls(
            *(str(each.verdict), str(each.role), str(each.severity), state, action),
            *(each.service or "", each.sensor_id),
        )


_COLUMNS = [_FACETS.c[name] for name in Facet._fields]
_LAST = select(func.coalesce(func.max(_FACETS.c.facet_id), literal_column("0")))
_ADD = insert(_FACETS)
_KNOWN = Lookup([_FACETS.c.facet_id, *_COLUMNS], *_COLUMNS)


def facet_ids(connection: Connection, wanted: Iterable[Facet]) -> Mapping[Facet, int]:
    """Return the numbers of facets, new ones where there are none yet; the caller holds the write lock."""
    asked = list(set(wanted))
    found = {Facet(*row[1:]): row[0] for row in _KNOWN.find(connection, asked)}
    new = [facet for facet in asked if facet not in found]
    if new:
        ((last,),) = execute(connection, _LAST)
        found.update((facet, last + place) for place, facet in enumerate(new, 1))
        write_rows(connection, _ADD, [(found[facet], *facet) for facet in new])
    return found


def facet_conditions(wanted: EventFilter) -> list[ColumnElement[bool]]:
    """Return what a facet must fulfil, all of it."""
    asked = {
        _FACETS.c.verdict: wanted.verdict,
        _FACETS.c.role: wanted.role,
        _FACETS.c.severity: wanted.severity,
        _FACETS.c.state: wanted.state,
        _FACETS.c.action: wanted.action,
        _FACETS.c.service: wanted.service,
        _FACETS.c.sensor_id: wanted.sensor,
    }
    return [column == str(value) for column, value in asked.items() if value is not None]


def is_few(connection: Connection, conditions: list[ColumnElement[bool]]) -> bool:
    """Tell whether so few facets fulfil the conditions that each may be asked for its newest events."""
    found = select(_FACETS.c.facet_id).where(*conditions).limit(MAX_FACETS + 1)
    return len(connection.execute(found).all()) <= MAX_FACETS
