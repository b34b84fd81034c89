"""Snapshots: published lists, numbered, never changed."""

import msgspec
from sqlalchemy import ColumnElement, Connection, delete, insert, select

from db.lists.values import SnapshotRow
from db.schema.models import PublishedRow

KEPT_A_LIST = 100
NS_PER_S = 1_000_000_000
CLOSE_S = 60

_SNAPSHOTS = PublishedRow.metadata.tables[PublishedRow.__tablename__]


def publish(connection: Connection, wanted: SnapshotRow) -> SnapshotRow:
    """Return the list's latest snapshot when it has this digest, else a new one with the next serial.

    The serial is that of `wanted` at least. The `KEPT_A_LIST` newest of each list and profile are kept. The caller
    holds the write lock, so serials never repeat.
    """
    latest = latest_snapshot(connection, wanted.list_name, wanted.profile)
    if latest is not None and latest.digest == wanted.digest and latest.serial >= wanted.serial:
        return latest
    serial, created_at_ns = max(wanted.serial, latest.serial + 1 if latest else 1), wanted.created_at_ns
    if latest is not None and 0 <= latest.created_at_ns // NS_PER_S - created_at_ns // NS_PER_S < CLOSE_S:
        created_at_ns = latest.created_at_ns + NS_PER_S  # Last-Modified has whole seconds and must tell them apart
    published = msgspec.structs.replace(wanted, serial=serial, created_at_ns=created_at_ns)
    connection.execute(insert(_SNAPSHOTS).values(msgspec.structs.asdict(published)))
    is_old = _SNAPSHOTS.c.serial <= serial - KEPT_A_LIST
    connection.execute(delete(_SNAPSHOTS).where(*_of(wanted.list_name, wanted.profile), is_old))
    return published


def latest_snapshot(connection: Connection, list_name: str, profile: str) -> SnapshotRow | None:
    """Return the list's snapshot with the highest serial, None before the first."""
    query = select(_SNAPSHOTS).where(*_of(list_name, profile)).order_by(_SNAPSHOTS.c.serial.desc()).limit(1)
    row = connection.execute(query).first()
    return SnapshotRow(**row._asdict()) if row else None


def snapshots(connection: Connection, list_name: str, profile: str) -> list[SnapshotRow]:
    """Return the list's snapshots that are kept, newest first, without their bodies."""
    columns = (_SNAPSHOTS.c.serial, _SNAPSHOTS.c.created_at_ns, _SNAPSHOTS.c.digest)
    query = select(*columns).where(*_of(list_name, profile)).order_by(_SNAPSHOTS.c.serial.desc())
    return [SnapshotRow(list_name, *row, b"", profile) for row in connection.execute(query)]


def snapshot(connection: Connection, list_name: str, profile: str, serial: int) -> SnapshotRow | None:
    """Return one snapshot, None when it is not kept (any more)."""
    query = select(_SNAPSHOTS).where(*_of(list_name, profile), _SNAPSHOTS.c.serial == serial)
    row = connection.execute(query).first()
    return SnapshotRow(**row._asdict()) if row else None


def _of(list_name: str, profile: str) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return _SNAPSHOTS.c.list_name == list_name, _SNAPSHOTS.c.profile == profile
