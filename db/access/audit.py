"""The audit log: entries are added and read, never changed; each is chained to the one before.

A change that people make is noted in the transaction that makes it: the engine carries the `Act` that is under way
(`Store.on_behalf_of`), and `changing` says what stood there before and after.
"""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Connection, Engine, Table, insert, select

from db.access.values import AuditEntry, AuditFilter
from db.schema.models import AuditRow
from db.sql.engine import writing

ACT = "molecatcher_act"
MAX_TEXT = 500
SHOWN = frozenset(
    (
        "state",
        "assignee",
        "status",
        "decision",
        "service",
        "entry",
        "domain",
        "name",
        "token",
        "scopes",
        "kind",
        "expires",
        "is_paused",
        "chosen",
        "profile",
    )
)
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


@dataclass(slots=True)
class Act:
    """What somebody does over the API: who, from where and what is in `entry`, what came of it so far in `kept`.

    `is_noted`: an entry says already that it happens, so another one has to say so if it does not.
    """

    entry: AuditEntry
    is_noted: bool = False
    kept: list[AuditEntry] = field(default_factory=list)


@contextmanager
def changing(engine: Engine, table: Table, key: str) -> Iterator[Connection]:
    """Yield a connection as `writing` does, and note what became of the row of `table` with this key, if anything."""
    with writing(engine) as connection:
        if ACT not in connection.get_execution_options():
            yield connection
            return
        before = _row(connection, table, key)
        yield connection
        after = _row(connection, table, key)
        if before != after:
            note_change(connection, key, before, after)


def note_change(
    connection: Connection, target: str, before: Mapping[str, Any] | None, after: Mapping[str, Any] | None
) -> None:
    """Add an entry on behalf of the act under way, if any: `after` stands where `before` stood, None for nothing."""
    act: Act | None = connection.get_execution_options().get(ACT)
    if act is not None:
        entry = msgspec.structs.replace(
            act.entry,
            target=target,
            before=digest_of(before),
            after=digest_of(after),
            detail=_difference(before or {}, after or {})[:MAX_TEXT],
        )
        act.kept.append(add(connection, entry))


def _row(connection: Connection, table: Table, key: str) -> dict[str, Any] | None:
    row = connection.execute(select(table).where(next(iter(table.primary_key)) == key)).mappings().first()
    return None if row is None else dict(row)


def digest_of(value: object) -> str:
    """Return what the log keeps of a value: SHA-256 of its JSON, "" for nothing."""
    if value is None:
        return ""
    return hashlib.sha256(msgspec.json.encode(value, order="sorted")).hexdigest()


def _difference(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """Return what changed: the values of what may be read by everybody who reads the log, of the rest only that."""
    changed = [name for name in dict.fromkeys((*before, *after)) if before.get(name) != after.get(name)]
    values = [f"{name}: {_word(before.get(name))} -> {_word(after.get(name))}" for name in changed if name in SHOWN]
    others = [name for name in changed if name not in SHOWN]
    return "; ".join([*values, f"also {', '.join(others)}"] if others else values)


def _word(value: object) -> str:
    if isinstance(value, list):
        return " ".join(map(str, value))
    return "nothing" if value is None else str(value)


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
