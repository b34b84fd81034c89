"""The audit log: entries are added and read, never changed; each is chained to the one before."""

import hashlib

import msgspec
from sqlalchemy import ColumnElement, Connection, insert, select

from db.access_values import AuditEntry, AuditFilter
from db.models import AuditRow

_AUDIT = AuditRow.metadata.tables[AuditRow.__tablename__]


def add(connection: Connection, entry: AuditEntry) -> AuditEntry:
    """Keep an entry and return it with its place and chain."""
    newest = select(_AUDIT.c.seq, _AUDIT.c.chain).order_by(_AUDIT.c.seq.desc()).limit(1)
    last = connection.execute(newest).one_or_none()
    seq, chain = (last.seq, last.chain) if last else (0, "")
    placed = msgspec.structs.replace(entry, seq=seq + 1, chain="")
    kept = msgspec.structs.replace(placed, chain=chained(chain, placed))
    connection.execute(insert(_AUDIT).values(msgspec.to_builtins(kept)))
    return kept


def chained(previous: str, entry: AuditEntry) -> str:
    """Return the chain of an entry that follows one with the chain `previous`."""
    content = msgspec.json.encode(msgspec.structs.replace(entry, chain=previous))
    return hashlib.sha256(content).hexdigest()


def entries(connection: Connection, wanted: AuditFilter, limit: int, before_seq: int | None) -> list[AuditEntry]:
    """Return up to `limit` entries below `before_seq`, the newest first."""
    query = select(_AUDIT).where(*_conditions(wanted)).order_by(_AUDIT.c.seq.desc()).limit(limit)
    if before_seq is not None:
        query = query.where(_AUDIT.c.seq < before_seq)
    return [msgspec.convert(dict(row), AuditEntry) for row in connection.execute(query).mappings()]


def _conditions(wanted: AuditFilter) -> list[ColumnElement[bool]]:
    columns = _AUDIT.c
    equal = {
        columns.actor_id: wanted.actor,
        columns.action: wanted.action,
        columns.target: wanted.target,
        columns.outcome: wanted.outcome,
    }
    found = [column == str(value) for column, value in equal.items() if value is not None]
    if wanted.from_ns is not None:
        found.append(columns.at_ns >= wanted.from_ns)
    if wanted.to_ns is not None:
        found.append(columns.at_ns < wanted.to_ns)
    return found
