"""The packets that events rest on: written with the events, read one at a time, bounded by their octets in all.

Without room those of the oldest events go: an event's id begins with its time. Counters of both stand in `meta`, so
that a write need not add up the table.
"""

from collections.abc import Collection, Sequence

from sqlalchemy import Connection, delete, func, select

from db.schema.models import EVIDENCE_EVICTED, EVIDENCE_OCTETS, EvidenceRow
from db.schema.numbers import add_to_number, number
from db.sql.engine import upsert
from db.sql.prepared import Lookup, write_rows
from db.values import EvidenceUsage
from rules.values.event import Event

DEFAULT_EVIDENCE_LIMIT = 256 << 20

_EVIDENCE = EvidenceRow.metadata.tables[EvidenceRow.__tablename__]
_KNOWN = Lookup([_EVIDENCE.c.event_id, _EVIDENCE.c.revision, _EVIDENCE.c.size], _EVIDENCE.c.event_id)
_DELETED_AT_ONCE = 100


def append(connection: Connection, events: Sequence[Event], limit: int, rejected: Collection[str]) -> None:
    """Keep what the events bring, the highest revision of each, within `limit` octets; `rejected` are not stored."""
    newest: dict[str, Event] = {}
    for each in events:
        held = newest.get(each.event_id)
        is_wanted = each.evidence and len(each.evidence) <= limit and each.event_id not in rejected
        if is_wanted and (held is None or each.revision > held.revision):
            newest[each.event_id] = each
    if newest:
        _make_room(connection, _write(connection, list(newest.values())) - limit)


def make_ready(connection: Connection) -> None:
    """Make the texts of what writing a batch takes; nothing is written."""
    _write(connection, [])


def evidence(connection: Connection, event_id: str) -> bytes | None:
    """Return the packets of an event, None when there are none."""
    found: bytes | None = connection.execute(
        select(_EVIDENCE.c.octets).where(_EVIDENCE.c.event_id == event_id)
    ).scalar_one_or_none()
    return found


def remove(connection: Connection, event_ids: Sequence[str]) -> None:
    """Remove the packets of events that leave."""
    is_theirs = _EVIDENCE.c.event_id.in_(event_ids)
    octets = int(connection.execute(select(func.coalesce(func.sum(_EVIDENCE.c.size), 0)).where(is_theirs)).scalar_one())
    connection.execute(delete(_EVIDENCE).where(is_theirs))
    if octets:
        add_to_number(connection, EVIDENCE_OCTETS, -octets)


def usage(connection: Connection) -> EvidenceUsage:
    """Return how much there is, and how many made room."""
    return EvidenceUsage(number(connection, EVIDENCE_OCTETS), number(connection, EVIDENCE_EVICTED))


def _write(connection: Connection, events: Sequence[Event]) -> int:
    """Keep what is newer than what there is; return how many octets there are now, 0 if nothing is new."""
    known = {row[0]: row[1:] for row in _KNOWN.find(connection, [(each.event_id,) for each in events])}
    newer = [each for each in events if each.revision > known.get(each.event_id, (0, 0))[0]]
    rows = [(each.event_id, each.revision, len(each.evidence), each.evidence) for each in newer]
    write_rows(connection, upsert(connection, _EVIDENCE, newer="revision"), rows)
    grown = sum(len(each.evidence) - known.get(each.event_id, (0, 0))[1] for each in newer)
    return add_to_number(connection, EVIDENCE_OCTETS, grown) if newer else 0


def _make_room(connection: Connection, excess: int) -> None:
    """Remove the oldest, as many as hold `excess` octets."""
    oldest = select(_EVIDENCE.c.event_id, _EVIDENCE.c.size).order_by(_EVIDENCE.c.event_id).limit(_DELETED_AT_ONCE)
    while excess > 0 and (rows := connection.execute(oldest).all()):
        leaving: list[str] = []
        for event_id, size in rows:
            if excess <= 0:
                break
            leaving.append(event_id)
            excess -= size
        connection.execute(delete(_EVIDENCE).where(_EVIDENCE.c.event_id.in_(leaving)))
        add_to_number(connection, EVIDENCE_OCTETS, -sum(size for event_id, size in rows if event_id in leaving))
        add_to_number(connection, EVIDENCE_EVICTED, len(leaving))
