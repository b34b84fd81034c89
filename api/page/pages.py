"""Rows of a page by keyset, as the API pages them: the same cursors, bound to the same filters."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from starlette.datastructures import URL

from api.context import ApiContext
from api.cursors import CursorSigner, Position
from api.paging import open_page, with_cursor
from api.queries import EventQuery, FindingQuery
from api.routes.audit import AuditQuery

Item = TypeVar("Item")
Query = TypeVar("Query", EventQuery, FindingQuery, AuditQuery)


@dataclass(frozen=True, slots=True)
class RowPage(Generic[Item]):
    """The rows of one page; `cursor` is None on the last, `is_first` tells that none was given."""

    rows: Sequence[Item]
    cursor: str | None
    is_first: bool

    def address_of_next(self, url: URL) -> str | None:
        """Return the address of the next page of the one at `url`."""
        return with_cursor(url, self.cursor) if self.cursor else None


def page_of(
    context: ApiContext,
    resource: str,
    query: Query,
    *,
    fetch: Callable[..., list[Item]],
    place: Callable[[Item], tuple[int, str]],
    default_from_ns: int | None = None,
) -> RowPage[Item]:
    """Return the page that `query` asks for; `fetch(wanted, limit, position)` gets rows, `place` says where one stands.

    Raises:
        Problem: the cursor is not one of this query.
    """
    signer = CursorSigner(context.cursor_secret, resource)
    page = open_page(signer, query.to_filter(), query.limit, query.cursor, default_from_ns)
    rows = fetch(page.wanted, query.limit + 1, page.after)
    cursor = None
    if len(rows) > query.limit:
        rows = rows[: query.limit]
        at_ns, row_id = place(rows[-1])
        cursor = signer.encode(Position(at_ns, row_id, page.wanted.from_ns, page.wanted.to_ns), page.asked)
    return RowPage(rows, cursor, is_first=query.cursor is None)
