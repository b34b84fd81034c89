"""Outputs, their places, their dead letters, and the programs that may call back."""

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, Engine, Table, delete, func, insert, select, update

from db.access.audit import changing
from db.schema.output_models import DeadLetterRow, OutputRow, WebhookSourceRow
from db.sql.engine import reading, writing
from db.workflow.output_values import DeadLetter, Output, WebhookSource

MAX_OUTPUTS = 32
MAX_SOURCES = 32
MAX_DEAD = 10_000  # of one output; the oldest leaves

_OUTPUTS = OutputRow.metadata.tables[OutputRow.__tablename__]
_DEAD = DeadLetterRow.metadata.tables[DeadLetterRow.__tablename__]
_SOURCES = WebhookSourceRow.metadata.tables[WebhookSourceRow.__tablename__]


class OutputStore:
    """Everything about outputs, one transaction a method."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def outputs(self) -> list[Output]:
        """Return every output, the oldest first."""
        with reading(self._engine) as connection:
            rows = connection.execute(select(_OUTPUTS).order_by(_OUTPUTS.c.output_id)).mappings()
            return [msgspec.convert(dict(row), Output) for row in rows]

    def output(self, output_id: str) -> Output | None:
        """Return one output, None when there is none."""
        return next((row for row in self.outputs() if row.output_id == output_id), None)

    def add_output(self, wanted: Output) -> bool:
        """Keep a new output; tell whether there was room for it among `MAX_OUTPUTS`."""
        return self._add(_OUTPUTS, wanted.output_id, msgspec.to_builtins(wanted, builtin_types=(bytes,)), MAX_OUTPUTS)

    def remove_output(self, output_id: str) -> bool:
        """Remove an output with its dead letters; tell whether there was one."""
        with changing(self._engine, _OUTPUTS, output_id) as connection:
            connection.execute(delete(_DEAD).where(_DEAD.c.output_id == output_id))
            return connection.execute(delete(_OUTPUTS).where(_OUTPUTS.c.output_id == output_id)).rowcount > 0

    def set_secrets(self, output_id: str, secrets: bytes) -> bool:
        """Give an output other secrets; tell whether there is one."""
        with changing(self._engine, _OUTPUTS, output_id) as connection:
            changed = update(_OUTPUTS).where(_OUTPUTS.c.output_id == output_id).values(secrets=secrets)
            return connection.execute(changed).rowcount > 0

    def set_paused(self, output_id: str, is_paused: bool) -> bool:
        """Hold an output, or let it go on, its day of trying begun anew; tell whether there is one."""
        values = {"is_paused": is_paused, "failing_since_ns": None}
        with changing(self._engine, _OUTPUTS, output_id) as connection:
            changed = update(_OUTPUTS).where(_OUTPUTS.c.output_id == output_id).values(values)
            return connection.execute(changed).rowcount > 0

    def note_delivered(self, output_id: str, place: int, count: int, at_ns: int) -> None:
        """Note that everything up to `place` was delivered, `count` events more, or is not wanted."""
        values: dict[str, Any] = {"place": place, "delivered": _OUTPUTS.c.delivered + count}
        if count:
            values |= {"last_success_ns": at_ns, "failing_since_ns": None, "last_error": ""}
        with writing(self._engine) as connection:
            connection.execute(update(_OUTPUTS).where(_OUTPUTS.c.output_id == output_id).values(values))

    def note_failure(self, output_id: str, error: str, at_ns: int) -> None:
        """Note that a delivery failed; when the failures began stays."""
        values = {
            "failures": _OUTPUTS.c.failures + 1,
            "last_error": error,
            "failing_since_ns": func.coalesce(_OUTPUTS.c.failing_since_ns, at_ns),
        }
        with writing(self._engine) as connection:
            connection.execute(update(_OUTPUTS).where(_OUTPUTS.c.output_id == output_id).values(values))

    def bury(self, output_id: str, place: int, letters: Sequence[DeadLetter]) -> None:
        """Put events among the dead letters and go on behind them."""
        with writing(self._engine) as connection:
            connection.execute(insert(_DEAD), [msgspec.to_builtins(letter) for letter in letters])
            values = {"place": place, "dead": _OUTPUTS.c.dead + len(letters)}
            connection.execute(update(_OUTPUTS).where(_OUTPUTS.c.output_id == output_id).values(values))
            _make_room(connection, output_id)

    def dead_letters(self, output_id: str, after: str | None, limit: int) -> list[DeadLetter]:
        """Return up to `limit` dead letters of an output, the oldest first, above the letter `after`."""
        query = select(_DEAD).where(_DEAD.c.output_id == output_id).order_by(_DEAD.c.letter_id).limit(limit)
        if after is not None:
            query = query.where(_DEAD.c.letter_id > after)
        with reading(self._engine) as connection:
            return [msgspec.convert(dict(row), DeadLetter) for row in connection.execute(query).mappings()]

    def forget_letters(self, letter_ids: Sequence[str]) -> None:
        """Remove dead letters that were delivered after all, or whose events are gone."""
        with writing(self._engine) as connection:
            connection.execute(delete(_DEAD).where(_DEAD.c.letter_id.in_(letter_ids)))

    def sources(self) -> list[WebhookSource]:
        """Return the programs that may call back, the oldest first."""
        with reading(self._engine) as connection:
            rows = connection.execute(select(_SOURCES).order_by(_SOURCES.c.source_id)).mappings()
            return [msgspec.convert(dict(row), WebhookSource) for row in rows]

    def add_source(self, wanted: WebhookSource) -> bool:
        """Keep a new program; tell whether there was room for it among `MAX_SOURCES`."""
        return self._add(_SOURCES, wanted.source_id, msgspec.to_builtins(wanted, builtin_types=(bytes,)), MAX_SOURCES)

    def remove_source(self, source_id: str) -> bool:
        """Remove a program; tell whether there was one."""
        with changing(self._engine, _SOURCES, source_id) as connection:
            return connection.execute(delete(_SOURCES).where(_SOURCES.c.source_id == source_id)).rowcount > 0

    def _add(self, table: Table, key: str, row: dict[str, object], limit: int) -> bool:
        with changing(self._engine, table, key) as connection:
            if connection.execute(select(func.count()).select_from(table)).scalar_one() >= limit:
                return False
            connection.execute(insert(table).values(row))
            return True


def _make_room(connection: Connection, output_id: str) -> None:
    own = _DEAD.c.output_id == output_id
    newest = select(_DEAD.c.letter_id).where(own).order_by(_DEAD.c.letter_id.desc())
    oldest = connection.execute(newest.offset(MAX_DEAD).limit(1)).scalar_one_or_none()
    if oldest is not None:
        connection.execute(delete(_DEAD).where(own, _DEAD.c.letter_id <= oldest))
