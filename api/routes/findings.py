"""Findings: one for each source, service and role."""

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from api.cursors import CursorSigner
from api.dependencies import Context
from api.documents import document
from api.openapi import problems
from api.paging import Row, open_page
from api.queries import FindingQuery
from api.schemas import FindingPage
from db.values import FindingCursor

router = APIRouter(tags=["findings"])


@router.get("/v1/findings", response_model=FindingPage, responses=problems(422, 503))
def list_findings(query: Annotated[FindingQuery, Query()], context: Context, request: Request) -> Response:
    """Findings, the one seen last first, however old; `from` and `to` speak of when they were last seen.

    One that is seen again while pages are turned moves to the first page.
    """
    page = open_page(
        CursorSigner(context.cursor_secret, "findings"), query.to_filter(), query.limit, query.cursor, None
    )
    after = FindingCursor(page.after.at_ns, page.after.row_id) if page.after else None
    findings = context.store.findings(page.wanted, query.limit + 1, after)
    return page.respond([Row(row.last_seen_ns, row.finding_id, document(row)) for row in findings], request.url)
