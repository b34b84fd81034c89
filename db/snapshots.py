"""Snapshots: published lists, numbered, never changed."""

from sqlalchemy import Connection, delete, insert, select

from db.models import PublishedRow
from db.values import SnapshotRow

KEPT_A_LIST = 100
NS_PER_S = 1_000_000_000
CLOSE_S = 60

_SNAPSHOTS = PublishedRow.metadata.tables[PublishedRow.__tablename__]


def publish(connection: Connection, list_name: str, digest: str, created_at_ns: int, body: bytes) -> SnapshotRow:
    """Return the list's latest snapshot when it has this digest, else a new one with the next serial.

    The `KEPT_A_LIST` newest of each list are kept. The caller holds the write lock, so serials have no gaps.
    """
    latest = latest_snapshot(connection, list_name)
    if latest is not None and latest.digest == digest:
        return latest
    serial = latest.serial + 1 if latest else 1
    if latest is not None and 0 <= latest.created_at_ns // NS_PER_S - created_at_ns // NS_PER_S < CLOSE_S:
        created_at_ns = latest.created_at_ns + NS_PER_S  # Last-Modified has whole seconds and must tell them apart
    published = SnapshotRow(list_name, serial, created_at_ns, digest, body)
    connection.execute(
        insert(_SNAPSHOTS).values(
            list_name=list_name, serial=serial, created_at_ns=created_at_ns, digest=digest, body=body
        )
    )
    is_old = _SNAPSHOTS.c.serial <= serial - KEPT_A_LIST
    connection.execute(delete(_SNAPSHOTS).where(_SNAPSHOTS.c.list_name == list_name, is_old))
    return published


def latest_snapshot(connection: Connection, list_name: str) -> SnapshotRow | None:
    """Return the list's snapshot with the highest serial, None before the first."""
    query = select(_SNAPSHOTS).where(_SNAPSHOTS.c.list_name == list_name).order_by(_SNAPSHOTS.c.serial.desc()).limit(1)
    row = connection.execute(query).first()
    return SnapshotRow(row.list_name, row.serial, row.created_at_ns, row.digest, row.body) if row else None
