"""Pages of rows by keyset: where a page begins, which time window it keeps, and how the next one is named."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar
from urllib.parse import parse_qsl, urlencode

import msgspec
from starlette.datastructures import URL
from starlette.responses import Response

from api.cursors import CursorSigner, Position
from api.documents import json_response
from db.access_values import AuditFilter
from db.values import EventFilter, FindingFilter

Filter = TypeVar("Filter", EventFilter, FindingFilter, AuditFilter)


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a page: its document and its place in the order."""

    at_ns: int
    row_id: str
    document: dict[str, object]


@dataclass(frozen=True, slots=True)
class Page(Generic[Filter]):
    """One page of the query `asked`; `wanted` is that query with the time window that the first page was given."""

    signer: CursorSigner
    asked: Filter
    wanted: Filter
    after: Position | None
    limit: int

    def respond(self, rows: Sequence[Row], url: URL) -> Response:
        """Return the page. `rows` holds one more than the limit when there is a next page."""
        items = rows[: self.limit]
        headers: dict[str, str] = {}
        cursor = None
        if len(rows) > self.limit:
            last = Position(items[-1].at_ns, items[-1].row_id, self.wanted.from_ns, self.wanted.to_ns)
            cursor = self.signer.encode(last, self.asked)
            headers["Link"] = f'<{with_cursor(url, cursor)}>; rel="next"'
        return json_response({"items": [row.document for row in items], "next": cursor}, headers=headers)


def open_page(
    signer: CursorSigner, asked: Filter, limit: int, cursor: str | None, default_from_ns: int | None
) -> Page[Filter]:
    """Return the page to fill; without `from`, `to` and cursor it begins at `default_from_ns`.

    Raises:
        Problem: the cursor is not one of this query.
    """
    after = signer.decode(cursor, asked) if cursor else None
    from_ns, to_ns = asked.from_ns, asked.to_ns
    if after is not None:
        from_ns, to_ns = after.from_ns, after.to_ns
    elif from_ns is None and to_ns is None:
        from_ns = default_from_ns
    wanted = msgspec.structs.replace(asked, from_ns=from_ns, to_ns=to_ns)
    return Page(signer, asked, wanted, after, limit)


def with_cursor(url: URL, cursor: str) -> str:
    """Return the address of the page that `cursor` names, in the same query as `url`."""
    kept = [(name, value) for name, value in parse_qsl(url.query, keep_blank_values=True) if name != "cursor"]
    return f"{url.path}?{urlencode([*kept, ('cursor', cursor)])}"
