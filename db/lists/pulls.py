"""Pulls: what each consumer of a list pulled last."""

from collections.abc import Sequence

import msgspec
from sqlalchemy import Connection, delete, select

from db.lists.values import PullRecord
from db.schema.models import PullRow
from db.sql.engine import upsert

_PULLS = PullRow.metadata.tables[PullRow.__tablename__]
NS_PER_DAY = 86_400 * 1_000_000_000
KEPT_NS = 90 * NS_PER_DAY


def save(connection: Connection, records: Sequence[PullRecord], now_ns: int) -> None:
    """Keep the records in place of those of the same consumers; who has not pulled for 90 days is forgotten."""
    connection.execute(upsert(connection, _PULLS), [msgspec.structs.asdict(record) for record in records])
    connection.execute(delete(_PULLS).where(_PULLS.c.last_pull_ns < now_ns - KEPT_NS))


def pulls(connection: Connection, limit: int) -> list[PullRecord]:
    """Return up to `limit` records, those of the newest pulls."""
    rows = connection.execute(select(_PULLS).order_by(_PULLS.c.last_pull_ns.desc()).limit(limit))
    return [PullRecord(**row._asdict()) for row in rows]
