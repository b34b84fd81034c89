"""The packets that events rest on: written with the events, read one at a time, bounded by their octets in all.

Without room those of the oldest events go: an event's id begins with its time. Counters of both stand in `meta`, so
that a write need not add up the table.
"""

from collections.abc import Collection, Sequence

from sqlalchemy import Connection, delete, func, select, update

from db.engine import upsert
from db.models import EVIDENCE_EVICTED, EVIDENCE_OCTETS, EvidenceRow, MetaRow
from db.values import EvidenceUsage
from rules.event import Event

DEFAULT_EVIDENCE_LIMIT = 256 << 20

_EVIDENCE = EvidenceRow.metadata.tables[EvidenceRow.__tablename__]
_META = MetaRow.metadata.tables[MetaRow.__tablename__]
_DELETED_AT_ONCE = 100
_ASKED_AT_ONCE = 500


def append(connection: Connection, events: Sequence[Event], limit: int, rejected: Collection[str]) -> None:
    """Keep what the events bring, the highest revision of each, within `limit` octets; `rejected` are not stored."""
    newest: dict[str, Event] = {}
    for each in events:
        held = newest.get(each.event_id)
        is_wanted = each.evidence and len(each.evidence) <= limit and each.event_id not in rejected
        if is_wanted and (held is None or each.revision > held.revision):
            newest[each.event_id] = each
    rows = list(newest.values())
    for at in range(0, len(rows), _ASKED_AT_ONCE):
        _write(connection, rows[at : at + _ASKED_AT_ONCE])
    if rows:
        _make_room(connection, limit)


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
        _add(connection, EVIDENCE_OCTETS, -octets)


def usage(connection: Connection) -> EvidenceUsage:
    """Return how much there is, and how many made room."""
    return EvidenceUsage(_number(connection, EVIDENCE_OCTETS), _number(connection, EVIDENCE_EVICTED))


def _write(connection: Connection, events: Sequence[Event]) -> None:
    columns = (_EVIDENCE.c.event_id, _EVIDENCE.c.revision, _EVIDENCE.c.size)
    ids = [each.event_id for each in events]
    known = {row[0]: (row[1], row[2]) for row in connection.execute(select(*columns).where(columns[0].in_(ids)))}
    newer = [each for each in events if each.revision > known.get(each.event_id, (0, 0))[0]]
    if not newer:
        return
    rows = [
        {"event_id": each.event_id, "revision": each.revision, "size": len(each.evidence), "octets": each.evidence}
        for each in newer
    ]
    connection.execute(upsert(connection, _EVIDENCE, newer="revision"), rows)
    grown = sum(len(each.evidence) - known.get(each.event_id, (0, 0))[1] for each in newer)
    _add(connection, EVIDENCE_OCTETS, grown)


def _make_room(connection: Connection, limit: int) -> None:
    oldest = select(_EVIDENCE.c.event_id, _EVIDENCE.c.size).order_by(_EVIDENCE.c.event_id).limit(_DELETED_AT_ONCE)
    excess = _number(connection, EVIDENCE_OCTETS) - limit
    while excess > 0 and (rows := connection.execute(oldest).all()):
        leaving: list[str] = []
        for event_id, size in rows:
            if excess <= 0:
                break
            leaving.append(event_id)
            excess -= size
        connection.execute(delete(_EVIDENCE).where(_EVIDENCE.c.event_id.in_(leaving)))
        _add(connection, EVIDENCE_OCTETS, -sum(size for event_id, size in rows if event_id in leaving))
        _add(connection, EVIDENCE_EVICTED, len(leaving))


def _number(connection: Connection, name: str) -> int:
    value: int = connection.execute(select(_META.c.value).where(_META.c.name == name)).scalar_one()
    return value


def _add(connection: Connection, name: str, number: int) -> None:
    connection.execute(update(_META).where(_META.c.name == name).values(value=_META.c.value + number))
