"""Statements made once, for what is done with every batch of events: text for the driver, values as tuples.

What SQLAlchemy has compiled and cached still costs some 100 us a statement and 10 us a row to execute, for the names
and types of its values. Here values are as the driver takes them: enums as text, lists as JSON.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from itertools import chain
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Connection, Dialect, Insert, Select, UpdateBase, select, tuple_
from sqlalchemy.dialects import sqlite

from db.sql.engine import REFUSALS

SIZES = (1, 4, 16, 64, 256)  # how many keys a statement asks for: a few texts, each made once

Values = tuple[Any, ...]
Statement = Select[Any] | Insert | UpdateBase
_DIALECTS: dict[str, Dialect] = {"sqlite": sqlite.dialect(paramstyle="qmark")}


class Lookup:
    """Rows by key: of a table, `columns` of those whose `keys` are among those asked for."""

    def __init__(self, columns: Sequence[ColumnElement[Any]], *keys: ColumnElement[Any]) -> None:
        self._columns = columns
        self._keys = keys

    def find(self, connection: Connection, wanted: Sequence[Values]) -> Iterator[Values]:
        """Yield the rows of the `wanted` keys, 256 in a statement; the last key fills up what else it has room for.

        Without keys only the texts are made.
        """
        for size in SIZES if not wanted else ():
            self._text(connection.dialect.name, size)
        for at in range(0, len(wanted), SIZES[-1]):
            some = wanted[at : at + SIZES[-1]]
            size = next(size for size in SIZES if size >= len(some))
            filled = (*some, *(some[-1] for _ in range(size - len(some))))
            text = self._text(connection.dialect.name, size)
            yield from execute(connection, text, tuple(chain.from_iterable(filled)))

    @cache  # noqa: B019 - lookups are made once, with their module; to make a text costs 1 ms
    def _text(self, dialect: str, size: int) -> str:
        """Return the text for `size` keys: that for one, which ends in its place, with as many places."""
        is_single = len(self._keys) == 1
        key, example = (self._keys[0], "") if is_single else (tuple_(*self._keys), ("",) * len(self._keys))
        place = "?" if is_single else f"({', '.join('?' * len(self._keys))})"
        text = text_of(dialect, select(*self._columns).where(key.in_([example])))
        return text.removesuffix(f"{place})") + ", ".join([place] * size) + ")"


def write_rows(connection: Connection, statement: Insert, rows: Sequence[Values]) -> None:
    """Execute an INSERT of whole rows, each the values of all columns in their order; without rows make its text."""
    text = text_of(connection.dialect.name, statement)
    if rows:
        cursor = connection.connection.cursor()
        cursor.executemany(text, rows)
        cursor.close()


def execute(connection: Connection, statement: Statement | str, values: Values = ()) -> list[Values]:
    """Return the rows that a statement gives. What goes wrong is raised as the driver's error."""
    text = statement if isinstance(statement, str) else text_of(connection.dialect.name, statement)
    cursor = connection.connection.cursor()
    cursor.execute(text, values)
    rows = list(cursor.fetchall())
    cursor.close()
    return rows


@contextmanager
def savepoint(connection: Connection) -> Iterator[None]:
    """Undo what is done within if a value is refused; whatever else goes wrong ends the transaction."""
    execute(connection, "SAVEPOINT batch")
    try:
        yield
    except REFUSALS:
        execute(connection, "ROLLBACK TO SAVEPOINT batch")
        execute(connection, "RELEASE SAVEPOINT batch")
        raise
    execute(connection, "RELEASE SAVEPOINT batch")


def to_json(value: object) -> str:
    """Return a value as columns of JSON hold it."""
    return msgspec.json.encode(value).decode()


@cache
def text_of(dialect: str, statement: Statement) -> str:
    """Return the text of a statement that is made once, with `?` for each value."""
    return str(statement.compile(dialect=_DIALECTS[dialect], compile_kwargs={"render_postcompile": True}))
