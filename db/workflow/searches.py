"""Saved searches: filters with a name."""

import msgspec
from sqlalchemy import Connection, Engine, delete, func, insert, or_, select, update

from db.access.audit import changing
from db.schema.workflow_models import SearchRow
from db.sql.engine import reading
from db.workflow.values import SavedSearch

MAX_SEARCHES = 200  # of one owner
MAX_ALL = 10_000

_SEARCHES = SearchRow.metadata.tables[SearchRow.__tablename__]


class SearchStore:
    """Saved searches, one transaction a method."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def searches(self, owner: str) -> list[SavedSearch]:
        """Return the owner's searches and those that others share, by name; `MAX_ALL` at most."""
        is_readable = or_(_SEARCHES.c.owner == owner, _SEARCHES.c.is_shared)
        query = select(_SEARCHES).where(is_readable).order_by(_SEARCHES.c.name, _SEARCHES.c.search_id)
        with reading(self._engine) as connection:
            return [msgspec.convert(dict(row), SavedSearch) for row in connection.execute(query).mappings()]

    def search(self, search_id: str, owner: str) -> SavedSearch | None:
        """Return one search, None when there is none that `owner` may read."""
        with reading(self._engine) as connection:
            return _search(connection, search_id, owner)

    def add_search(self, wanted: SavedSearch) -> bool:
        """Keep a new search; tell whether there was room for it."""
        with changing(self._engine, _SEARCHES, wanted.search_id) as connection:
            total = connection.execute(select(func.count()).select_from(_SEARCHES)).scalar_one()
            own = connection.execute(select(func.count()).where(_SEARCHES.c.owner == wanted.owner)).scalar_one()
            if total >= MAX_ALL or own >= MAX_SEARCHES:
                return False
            connection.execute(insert(_SEARCHES).values(msgspec.to_builtins(wanted)))
            return True

    def replace_search(self, wanted: SavedSearch) -> bool:
        """Put a search in the place of the owner's own with its id; tell whether there is one."""
        is_own = (_SEARCHES.c.search_id == wanted.search_id, _SEARCHES.c.owner == wanted.owner)
        with changing(self._engine, _SEARCHES, wanted.search_id) as connection:
            changed = update(_SEARCHES).where(*is_own).values(msgspec.to_builtins(wanted))
            return connection.execute(changed).rowcount > 0

    def remove_search(self, search_id: str, owner: str) -> bool:
        """Remove one of the owner's searches; tell whether there was one."""
        is_own = (_SEARCHES.c.search_id == search_id, _SEARCHES.c.owner == owner)
        with changing(self._engine, _SEARCHES, search_id) as connection:
            return connection.execute(delete(_SEARCHES).where(*is_own)).rowcount > 0


def _search(connection: Connection, search_id: str, owner: str) -> SavedSearch | None:
    is_readable = or_(_SEARCHES.c.owner == owner, _SEARCHES.c.is_shared)
    row = (
        connection.execute(select(_SEARCHES).where(_SEARCHES.c.search_id == search_id, is_readable)).mappings().first()
    )
    return msgspec.convert(dict(row), SavedSearch) if row else None
