"""Everything that depends on the database engine: opening it, locking, upserts, and what its errors mean.

SQLite runs in WAL mode so that the API reads while the sensor writes. `synchronous` is FULL: with NORMAL a commit would
survive `kill -9` (the pages are in the kernel) but not a power cut, and the sensor deletes its spool file as soon as
`append` returns. FULL costs one fsync a batch, which bench/store.py measures.
"""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
from sqlalchemy import URL, Connection, Engine, Executable, Table, create_engine, event, make_url
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from db.errors import DbError, StoreUnavailable, StoreUnusable

DEFAULT_BUSY_TIMEOUT_MS = 10_000
MAX_WAL_OCTETS = 64 << 20

_INSERT: dict[str, Callable[[Table], sqlite.Insert | postgresql.Insert]] = {
    "sqlite": sqlite.insert,
    "postgresql": postgresql.insert,
}
_WRITES = "molecatcher_writes"
_LOCKED = "The database {path} is locked by another process: nothing was written, try again."
_READ_ONLY = "The database {path} is not writable: let the service's user write to it and to its directory."
_RETRYABLE = {
    sqlite3.SQLITE_BUSY: _LOCKED,
    sqlite3.SQLITE_LOCKED: _LOCKED,
    sqlite3.SQLITE_PROTOCOL: _LOCKED,
    sqlite3.SQLITE_FULL: "The disk that holds {path} is full: free space there; nothing was written, try again.",
    sqlite3.SQLITE_IOERR: "The disk that holds {path} failed ({cause}): check it; nothing was written, try again.",
    sqlite3.SQLITE_CANTOPEN: "The database {path} cannot be opened: check the rights of its directory, then try again.",
    sqlite3.SQLITE_NOMEM: "No memory is left to work on the database {path}: free some, then try again.",
}
_FINAL = {
    sqlite3.SQLITE_CORRUPT: "The database {path} is corrupt: move it away and restore a backup ({cause}).",
    sqlite3.SQLITE_NOTADB: "{path} is not a database: move it away or name another file.",
    sqlite3.SQLITE_READONLY: _READ_ONLY,
    sqlite3.SQLITE_PERM: _READ_ONLY,
}


def parse_location(url_or_path: str | Path) -> URL:
    """Return the URL of a database given as a path or as `sqlite:///path`.

    Raises:
        StoreUnusable: another engine, no file, or a directory that is not there.
    """
    if isinstance(url_or_path, Path) or "://" not in url_or_path:
        url = URL.create("sqlite", database=str(url_or_path))
    else:
        try:
            url = make_url(url_or_path)
        except ArgumentError as error:
            raise StoreUnusable(f"{url_or_path} is not a database address: give a path or sqlite:///path.") from error
    if url.get_backend_name() != "sqlite":
        raise StoreUnusable(f"The engine {url.get_backend_name()} is not supported: give a path or sqlite:///path.")
    if not url.database or url.database == ":memory:":
        raise StoreUnusable("The database must be a file, which the sensor and the API share: give its path.")
    path = Path(url.database)
    if not path.parent.is_dir():
        raise StoreUnusable(f"The directory {path.parent} does not exist: create it for the service's user.")
    if path.is_dir():
        raise StoreUnusable(f"{path} is a directory: name a file in it.")
    return url


def connect_engine(url: URL, busy_timeout_ms: int = DEFAULT_BUSY_TIMEOUT_MS) -> Engine:
    """Return an engine that has not connected yet; each of its connections is set up as the module says."""
    engine = create_engine(
        url,
        json_serializer=lambda value: msgspec.json.encode(value).decode(),
        json_deserializer=msgspec.json.decode,
        pool_timeout=busy_timeout_ms / 1000,
    )

    @event.listens_for(engine, "connect")
    def set_up(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None  # BEGIN is ours: the driver would begin only at the first write
        connection.execute(f"PRAGMA busy_timeout = {busy_timeout_ms}")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute(f"PRAGMA journal_size_limit = {MAX_WAL_OCTETS}")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get(_WRITES, False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """Yield a connection that sees one state of the database throughout; raises what `explain` returns."""
    with _explained(engine), engine.connect() as connection, connection.begin():
        yield connection


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """Yield a connection that holds the write lock and commits at the end or rolls back; raises what `explain` returns.

    The lock is taken first, since SQLite cannot raise a read to a write once another process has written.
    """
    with _explained(engine), engine.connect() as connection:
        writer = connection.execution_options(**{_WRITES: True})
        with writer.begin():
            yield writer


def upsert(connection: Connection, table: Table, newer: str | None = None) -> Executable:
    """Return an INSERT that replaces the row with the same primary key, if `newer` is named only by a greater one."""
    insert = _INSERT[connection.dialect.name](table)
    key = [column.name for column in table.primary_key]
    columns = {column.name: insert.excluded[column.name] for column in table.columns if column.name not in key}
    where = None if newer is None else insert.excluded[newer] > table.c[newer]
    return insert.on_conflict_do_update(index_elements=key, set_=columns, where=where)


def explain(error: DBAPIError | sqlite3.Error, path: str) -> DbError:
    """Return what a database error means for the caller; the driver's words are kept, parameters are not shown."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    code = getattr(cause, "sqlite_errorcode", 0) & 0xFF  # the low octet is the primary result code
    if code in _RETRYABLE:
        return StoreUnavailable(_RETRYABLE[code].format(path=path, cause=cause))
    if code in _FINAL:
        return StoreUnusable(_FINAL[code].format(path=path, cause=cause))
    return StoreUnusable(f"The database {path} refused a statement ({cause}): check that it is Molecatcher's own file.")


@contextmanager
def _explained(engine: Engine) -> Iterator[None]:
    path = engine.url.database or ""
    try:
        yield
    except PoolTimeoutError as error:
        raise StoreUnavailable(f"Every connection to the database {path} is in use: try again.") from error
    except (DBAPIError, sqlite3.Error) as error:
        raise explain(error, path) from error
