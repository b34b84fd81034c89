"""Pages of rows by keyset: where a page begins, which time window it keeps, and how the next one is named."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar
from urllib.parse import parse_qsl, urlencode

import msgspec
from starlette.datastructures import URL
from starlette.responses import Response

from api.context import ApiContext
from api.documents import json_response
from api.requests.cursors import CursorSigner, Position
from db.access.values import AuditFilter
from db.values import EventFilter, FindingFilter

Item = TypeVar("Item")
Filter = EventFilter | FindingFilter | AuditFilter


class PagedQuery(Protocol):
    """What asks for a page."""

    limit: int
    cursor: str | None

    def to_filter(self) -> Filter:
        """Return the filter as it was asked."""


@dataclass(frozen=True, slots=True)
class RowPage(Generic[Item]):
    """The rows of one page; `cursor` is None on the last, `is_first` tells that none was given."""

    rows: Sequence[Item]
    cursor: str | None
    is_first: bool

    def address_of_next(self, url: URL) -> str | None:
        """Return the address of the next page of the one at `url`."""
        return _with_cursor(url, self.cursor) if self.cursor else None

    def respond(self, url: URL, document: Callable[[Item], dict[str, object]]) -> Response:
        """Return the page as the API answers it."""
        following = self.address_of_next(url)
        headers = {"Link": f'<{following}>; rel="next"'} if following else {}
        return json_response({"items": list(map(document, self.rows)), "next": self.cursor}, headers=headers)


def page_of(
    context: ApiContext,
    resource: str,
    query: PagedQuery,
    *,
    fetch: Callable[..., list[Item]],
    place: Callable[[Item], tuple[int, str]],
    default_from_ns: int | None = None,
) -> RowPage[Item]:
    """Return the page that `query` asks for; `fetch(wanted, limit, position)` gets rows, `place` says where one stands.

    Without `from`, `to` and cursor it begins at `default_from_ns`; later pages keep the window of the first.

    Raises:
        Problem: the cursor is not one of this query.
    """
    signer, asked = CursorSigner(context.cursor_secret, resource), query.to_filter()
    after = signer.decode(query.cursor, asked) if query.cursor else None
    from_ns, to_ns = (after.from_ns, after.to_ns) if after else (asked.from_ns, asked.to_ns)
    if after is None and from_ns is None and to_ns is None:
        from_ns = default_from_ns
    rows = fetch(msgspec.structs.replace(asked, from_ns=from_ns, to_ns=to_ns), query.limit + 1, after)
    cursor = None
    if len(rows) > query.limit:
        rows = rows[: query.limit]
        cursor = signer.encode(Position(*place(rows[-1]), from_ns, to_ns), asked)
    return RowPage(rows, cursor, is_first=query.cursor is None)


def _with_cursor(url: URL, cursor: str) -> str:
    kept = [(name, value) for name, value in parse_qsl(url.query, keep_blank_values=True) if name != "cursor"]
    return f"{url.path}?{urlencode([*kept, ('cursor', cursor)])}"
