"""Everything that depends on the database engine: opening it, locking, upserts, and what its errors mean.

SQLite runs in WAL mode so that the API reads while the sensor writes. `synchronous` is FULL: with NORMAL a commit would
survive `kill -9` (the pages are in the kernel) but not a power cut, and the sensor deletes its spool file as soon as
`append` returns. FULL costs one fsync a batch, which bench/store.py measures.
"""

import operator
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import (
    URL,
    ColumnElement,
    Connection,
    Engine,
    Insert,
    Table,
    case,
    create_engine,
    event,
    literal_column,
    make_url,
    or_,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine.interfaces import DBAPICursor
from sqlalchemy.exc import (
    ArgumentError,
    DataError,
    DBAPIError,
    DisconnectionError,
    IntegrityError,
    InterfaceError,
    ProgrammingError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.pool import ConnectionPoolEntry

from db.errors import DbError, StoreUnavailable, StoreUnusable
from db.sql.networks import IN_NETWORK, contains

DEFAULT_BUSY_TIMEOUT_MS = 10_000
MAX_WAL_OCTETS = 64 << 20
WAL_RETRY_S = 0.02
CLOCK_STEP_NS = 60 * 1_000_000_000  # what comes out of order is younger than this

_INSERT: dict[str, Callable[[Table], sqlite.Insert | postgresql.Insert]] = {
    "sqlite": sqlite.insert,
    "postgresql": postgresql.insert,
}
_WRITES = "molecatcher_writes"
_FILE = "molecatcher_file"
_LOCKED = "The database {path} is locked by another process: nothing was written, try again."
_GONE = "The database {path} is gone: put it back, or restart to begin a new one."
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
REFUSALS = (  # of a value that does not fit its column: of the driver, as SQLAlchemy wraps them, and from before either
    *(sqlite3.IntegrityError, sqlite3.DataError, sqlite3.InterfaceError, sqlite3.ProgrammingError),
    *(IntegrityError, DataError, InterfaceError, ProgrammingError),
    *(OverflowError, UnicodeEncodeError),
)


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
        pool_use_lifo=True,  # the connection used last has its pages and statements at hand
    )

    @event.listens_for(engine, "connect")
    def set_up(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None  # BEGIN is ours: the driver would begin only at the first write
        connection.execute(f"PRAGMA busy_timeout = {busy_timeout_ms}")
        _use_wal(connection, busy_timeout_ms)
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute(f"PRAGMA journal_size_limit = {MAX_WAL_OCTETS}")
        connection.create_function(IN_NETWORK, 2, contains, deterministic=True)

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get(_WRITES, False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    _follow_file(engine)
    return engine


def _use_wal(connection: sqlite3.Connection, busy_timeout_ms: int) -> None:
    """Put the database into WAL mode; SQLite does not wait for another process that is about to do the same."""
    until_s = time.monotonic() + busy_timeout_ms / 1000
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() >= until_s:
                raise
            time.sleep(WAL_RETRY_S)
        else:
            return


def _follow_file(engine: Engine) -> None:
    """Let no connection write to a file that was removed: it takes writes until it is closed, and they go with it.

    A file put in its place is followed; none is made anew while we run. Costs a stat for each transaction, 2 us.
    """
    url, has_opened = engine.url, False

    @event.listens_for(engine, "do_connect")
    def refuse_new_file(*_: object) -> None:
        if has_opened and _file_id(url) is None:
            raise StoreUnavailable(_GONE.format(path=url.database))

    @event.listens_for(engine, "connect")
    def note_file(_connection: sqlite3.Connection, record: ConnectionPoolEntry) -> None:
        nonlocal has_opened
        record.info[_FILE] = _file_id(url)
        has_opened = True

    @event.listens_for(engine, "checkout")
    def check_file(_connection: sqlite3.Connection, record: ConnectionPoolEntry, _proxy: object) -> None:
        if _file_id(url) != record.info[_FILE]:
            raise DisconnectionError(f"{url.database} was moved")


def _file_id(url: URL) -> tuple[int, int] | None:
    try:
        found = os.stat(url.database or "")  # noqa: PTH116 - called for every transaction: no Path object needed
    except OSError:
        return None
    return found.st_dev, found.st_ino


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """Yield a connection that sees one state of the database throughout; raises what `explain` returns."""
    with _explained(engine), engine.connect() as connection, connection.begin():
        yield connection


@contextmanager
def glancing(engine: Engine) -> Iterator[DBAPICursor]:
    """Yield a cursor for one short question without a transaction: for what is asked every second."""
    with _explained(engine):
        connection = engine.raw_connection()
        try:
            yield connection.cursor()
        finally:
            connection.close()


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """Yield a connection that holds the write lock and commits at the end or rolls back; raises what `explain` returns.

    The lock is taken first, since SQLite cannot raise a read to a write once another process has written.
    """
    with _explained(engine), engine.connect() as connection:
        writer = connection.execution_options(**{_WRITES: True})
        with writer.begin():
            yield writer


def upsert(
    connection: Connection,
    table: Table,
    newer: str | None = None,
    clock_step_ns: int | None = None,
    kept: str | None = None,
) -> Insert:
    """Return an INSERT that replaces the row with the same primary key, if `newer` is named only by a greater one.

    One smaller by more than `clock_step_ns` replaces it too: then it is the clock that went back, not the order.
    The column `kept` stays as it was first written.
    """
    return _upsert(connection.dialect.name, table, newer, clock_step_ns, kept)


@cache  # building it costs 0.5 ms; there are as many as tables and ways to replace
def _upsert(dialect: str, table: Table, newer: str | None, clock_step_ns: int | None, kept: str | None) -> Insert:
    insert = _INSERT[dialect](table)
    key = [column.name for column in table.primary_key]
    left = {*key, kept}
    columns = {column.name: insert.excluded[column.name] for column in table.columns if column.name not in left}
    where = None
    if newer is not None:
        where = insert.excluded[newer] > table.c[newer]
        if clock_step_ns is not None:
            step: ColumnElement[int] = literal_column(str(clock_step_ns))  # no value of a row
            where = or_(where, insert.excluded[newer] < table.c[newer] - step)
    return insert.on_conflict_do_update(index_elements=key, set_=columns, where=where)


def increment(connection: Connection, table: Table) -> Insert:
    """Return an INSERT that adds to the numbers of the row with the same primary key."""
    return _combine(connection.dialect.name, table, operator.add)


def raise_to(connection: Connection, table: Table) -> Insert:
    """Return an INSERT that raises the numbers of the row with the same primary key where they are less."""
    return _combine(connection.dialect.name, table, _greater)


def _greater(held: Any, new: Any) -> Any:
    return case((new > held, new), else_=held)


@cache  # as `_upsert`
def _combine(dialect: str, table: Table, how: Callable[[Any, Any], Any]) -> Insert:
    insert = _INSERT[dialect](table)
    key = [column.name for column in table.primary_key]
    set_to = {
        column.name: how(column, insert.excluded[column.name]) for column in table.columns if column.name not in key
    }
    return insert.on_conflict_do_update(index_elements=key, set_=set_to)


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
