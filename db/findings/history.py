"""What happened to findings: kept with the change itself, in one transaction, and never changed afterwards."""

from collections.abc import Sequence

import msgspec
from sqlalchemy import Connection, delete, func, insert, select

from db.schema.workflow_models import FindingEntryRow
from db.values import EntryKind, HistoryEntry

MAX_COMMENTS = 1000  # of one finding
MAX_OTHERS = 1000  # of one finding; the oldest leaves

_ENTRIES = FindingEntryRow.metadata.tables[FindingEntryRow.__tablename__]


def add(connection: Connection, entries: Sequence[HistoryEntry]) -> None:
    """Keep new entries; of what is not a comment a finding keeps its `MAX_OTHERS` newest."""
    if not entries:
        return
    connection.execute(insert(_ENTRIES), [msgspec.to_builtins(entry) for entry in entries])
    for finding_id in {entry.finding_id for entry in entries if entry.kind is not EntryKind.COMMENT}:
        is_other = (_ENTRIES.c.finding_id == finding_id, _ENTRIES.c.kind != EntryKind.COMMENT.value)
        kept = select(_ENTRIES.c.entry_id).where(*is_other).order_by(_ENTRIES.c.entry_id.desc())
        oldest = connection.execute(kept.offset(MAX_OTHERS).limit(1)).scalar_one_or_none()
        if oldest is not None:
            connection.execute(delete(_ENTRIES).where(*is_other, _ENTRIES.c.entry_id <= oldest))


def count_comments(connection: Connection, finding_id: str) -> int:
    """Return how many comments a finding has."""
    is_comment = (_ENTRIES.c.finding_id == finding_id, _ENTRIES.c.kind == EntryKind.COMMENT.value)
    return int(connection.execute(select(func.count()).where(*is_comment)).scalar_one())


def page(connection: Connection, finding_id: str, after: str | None, limit: int) -> list[HistoryEntry]:
    """Return up to `limit` entries of a finding, the newest first, below the entry `after`."""
    query = select(_ENTRIES).where(_ENTRIES.c.finding_id == finding_id).order_by(_ENTRIES.c.entry_id.desc())
    if after is not None:
        query = query.where(_ENTRIES.c.entry_id < after)
    rows = connection.execute(query.limit(limit)).mappings()
    return [msgspec.convert(dict(row), HistoryEntry) for row in rows]


def remove(connection: Connection, finding_ids: Sequence[str]) -> None:
    """Remove the histories of findings that leave."""
    connection.execute(delete(_ENTRIES).where(_ENTRIES.c.finding_id.in_(finding_ids)))
