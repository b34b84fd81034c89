"""Findings: one for each source, service and role."""

from typing import Annotated

from fastapi import APIRouter, Path, Query
from starlette.requests import Request
from starlette.responses import Response

from api.access.audit import audit
from api.cursors import CursorSigner
from api.dependencies import Context
from api.documents import document, json_response
from api.openapi import problems
from api.paging import Row, open_page
from api.problems import Kind, Problem
from api.queries import FindingQuery, StateBody
from api.schemas import FindingDocument, FindingPage
from db.values import Finding, FindingCursor

router = APIRouter(tags=["findings"])
FindingId = Annotated[str, Path(max_length=64)]


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


@router.get("/v1/findings/{finding_id}", response_model=FindingDocument, responses=problems(404, 422, 503))
def get_finding(finding_id: FindingId, context: Context) -> Response:
    """One finding."""
    return _respond(context.store.finding(finding_id))


@router.post("/v1/findings/{finding_id}/state", response_model=FindingDocument, responses=problems(404, 422, 503))
def decide_finding(finding_id: FindingId, body: StateBody, context: Context, request: Request) -> Response:
    """Say what became of a finding. A resolved one that is seen again is open again."""
    before = context.store.finding(finding_id)
    if before is not None:
        audit(request, "finding.update", finding_id, before=before.state, after=body.state, detail=body.state)
    return _respond(context.store.decide_finding(finding_id, body.state, context.now_ns()))


def _respond(finding: Finding | None) -> Response:
    if finding is None:
        raise Problem(Kind.NOT_FOUND, "No finding has this id; /v1/findings lists those there are.")
    return json_response(document(finding))
