"""Parts of large findings: what their events of ten minutes add up to, and these of a day.

So a finding that something is taken back from is counted again from the events of ten minutes, the 144 parts of their
day and a part a day, however many events it has. A finding is divided once it has more than `LARGE` events; smaller
ones, nearly all, cost nothing here.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

import msgspec
from sqlalchemy import ColumnElement, Connection, delete, select

from db.findings.tally import Change, Contribution, FindingKey, Tally
from db.schema.sum_models import DAY_NS, FindingPartRow
from db.sql.engine import upsert
from db.sql.prepared import Lookup, write_rows

LARGE = 500  # events
TEN_MINUTES_NS = 600 * 1_000_000_000
_SPANS_NS = (TEN_MINUTES_NS, DAY_NS)
_PARTS = FindingPartRow.metadata.tables[FindingPartRow.__tablename__]
_KEY = [*_PARTS.primary_key]
_HELD = Lookup([*_KEY, _PARTS.c.tally], *_KEY)
_decode = msgspec.json.Decoder(Tally).decode

Place = tuple[str, int, int]  # finding, span and beginning in ns: the primary key


def add(connection: Connection, changes: Mapping[FindingKey, Sequence[Change]]) -> None:
    """Bring the parts of divided findings up to date: of each the pairs that its tally was given."""
    places = {place for key, pairs in changes.items() for _, new in pairs for place in _places(key, new)}
    if places:
        held = {(row[0], row[1], row[2]): _decode(row[3]) for row in _HELD.find(connection, list(places))}
        _add(changes, held)
        _write(connection, held)


def divide(connection: Connection, key: FindingKey, found: Iterable[Contribution]) -> None:
    """Write the parts of a finding that has none, from its events."""
    parts: dict[Place, Tally] = {}
    _add({key: ((None, each) for each in found)}, parts)
    _write(connection, parts)


def recount(
    connection: Connection,
    key: FindingKey,
    times_ns: Collection[int],
    events_between: Callable[[int, int], Iterable[Contribution]],
) -> Tally | None:
    """Return what a divided finding adds up to, None for nothing, once the parts of `times_ns` are counted again.

    `events_between` gives the finding's events observed from one time to before another.
    """
    for from_ns in {at_ns - at_ns % TEN_MINUTES_NS for at_ns in times_ns}:
        counted = Tally.of(key, events_between(from_ns, from_ns + TEN_MINUTES_NS))
        _replace(connection, (key.finding_id, TEN_MINUTES_NS, from_ns), counted)
    for from_ns in {at_ns - at_ns % DAY_NS for at_ns in times_ns}:
        of_day = (_PARTS.c.from_ns >= from_ns, _PARTS.c.from_ns < from_ns + DAY_NS)
        counted = _sum(connection, key, TEN_MINUTES_NS, *of_day)
        _replace(connection, (key.finding_id, DAY_NS, from_ns), counted)
    return _sum(connection, key, DAY_NS)


def remove(connection: Connection, finding_ids: Sequence[str]) -> None:
    """Remove the parts of these findings."""
    connection.execute(delete(_PARTS).where(_PARTS.c.finding_id.in_(finding_ids)))


def _places(key: FindingKey, each: Contribution) -> list[Place]:
    at_ns = each.observed_at_ns
    return [(key.finding_id, span_ns, at_ns - at_ns % span_ns) for span_ns in _SPANS_NS]


def _add(changes: Mapping[FindingKey, Iterable[Change]], held: dict[Place, Tally]) -> None:
    for key, pairs in changes.items():
        for earlier, new in pairs:
            for place in _places(key, new):
                if place in held:
                    held[place].add(new, earlier)
                else:
                    held[place] = Tally.begin(key, new)
                    held[place].add(new, None)


def _sum(connection: Connection, key: FindingKey, span_ns: int, *within: ColumnElement[bool]) -> Tally | None:
    """Return what the parts of one span add up to."""
    query = select(_PARTS.c.tally).where(_PARTS.c.finding_id == key.finding_id, _PARTS.c.span_ns == span_ns, *within)
    total = None
    for part in map(_decode, connection.execute(query).scalars()):
        if total is None:
            total = part
        else:
            total.merge(part)
    return total


def _replace(connection: Connection, place: Place, counted: Tally | None) -> None:
    if counted is None:
        is_there = (column == value for column, value in zip(_KEY, place, strict=True))
        connection.execute(delete(_PARTS).where(*is_there))
    else:
        _write(connection, {place: counted})


def _write(connection: Connection, parts: Mapping[Place, Tally]) -> None:
    rows = [(*place, tally.last_seen_ns, msgspec.json.encode(tally).decode()) for place, tally in parts.items()]
    write_rows(connection, upsert(connection, _PARTS), rows)
