"""What SQLite does for the statements of a store."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import event as sqlalchemy_event

from db.store import Store


@contextmanager
def statements(store: Store) -> Iterator[list[tuple[str, object]]]:
    seen: list[tuple[str, object]] = []

    def note(_connection: object, _cursor: object, statement: str, parameters: object, *_rest: object) -> None:
        seen.append((statement, parameters))

    sqlalchemy_event.listen(store._engine, "before_cursor_execute", note)
    yield seen
    sqlalchemy_event.remove(store._engine, "before_cursor_execute", note)


def plans(store: Store, noted: list[tuple[str, Any]]) -> list[str]:
    with store._engine.connect() as connection:
        return [
            row[3]
            for statement, parameters in noted
            if statement.startswith("SELECT")
            for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
        ]
