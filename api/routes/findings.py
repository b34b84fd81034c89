"""Findings: one for each source, service and role; what people say of them, and what happened to them."""

from typing import Annotated

from fastapi import APIRouter, Path, Query
from starlette.requests import Request
from starlette.responses import Response

from api.caller import Who
from api.context import ApiContext
from api.dependencies import Context
from api.documents import document, json_response
from api.openapi import problems
from api.problems import Kind, Problem
from api.requests.bodies import AssigneeBody, BulkBody, CommentBody, HistoryQuery, StateBody
from api.requests.paging import RowPage, page_of
from api.requests.parameters import FindingQuery
from api.schemas.events import FindingDocument, FindingPage
from api.schemas.workflow import BulkDocument, HistoryPage
from api.veil import Shown, Veil
from db.errors import HistoryFull
from db.values import Finding, FindingChange, FindingCursor

router = APIRouter(tags=["findings"])
FindingId = Annotated[str, Path(max_length=64)]
NO_FINDING = "No finding has this id; /v1/findings lists those there are."


@router.get("/v1/findings", response_model=FindingPage, responses=problems(422, 503))
def list_findings(
    query: Annotated[FindingQuery, Query()], context: Context, shown: Shown, request: Request
) -> Response:
    """Findings, the one seen last first, however old; `from` and `to` speak of when they were last seen.

    One that is seen again while pages are turned moves to the first page.
    """
    page = findings_page(context, shown, query)
    return page.respond(request.url, lambda row: document(shown.finding(row)))


def findings_page(context: ApiContext, shown: Veil, query: FindingQuery) -> RowPage[Finding]:
    """Return the findings that `query` asks for as they are in the store."""
    return page_of(
        context,
        "findings",
        query,
        fetch=lambda wanted, limit, at: context.store.findings(
            shown.findings(wanted), limit, FindingCursor(at.at_ns, shown.real_id(at.row_id)) if at else None
        ),
        place=lambda row: (row.last_seen_ns, shown.shown_id(row.finding_id)),
    )


@router.post("/v1/findings:bulk", response_model=BulkDocument, responses=problems(422, 503))
def change_findings(body: BulkBody, context: Context, shown: Shown, who: Who) -> Response:
    """Do the same to many findings. What became of each is said; one that is not there does not hinder the others."""
    items = []
    for finding_id in dict.fromkeys(body.ids):
        problem = None
        try:
            found = _change(context, shown.real_id(finding_id), body.to_change(), who.name)
        except HistoryFull as error:
            found, problem = None, str(error)
        if found is None:
            problem = problem or NO_FINDING
        items.append({"finding_id": finding_id, "state": found.state if found else None, "problem": problem})
    return json_response({"items": items})


@router.get("/v1/findings/{finding_id}", response_model=FindingDocument, responses=problems(404, 422, 503))
def get_finding(finding_id: FindingId, context: Context, shown: Shown) -> Response:
    """One finding."""
    return _respond(context.store.finding(shown.real_id(finding_id)), shown)


@router.get("/v1/findings/{finding_id}/history", response_model=HistoryPage, responses=problems(404, 422, 503))
def get_history(
    finding_id: FindingId, query: Annotated[HistoryQuery, Query()], context: Context, shown: Shown
) -> Response:
    """What happened to a finding, newest first: who set which state or assignee when, comments, and exceptions."""
    real_id = shown.real_id(finding_id)
    if context.store.finding(real_id) is None:
        raise Problem(Kind.NOT_FOUND, NO_FINDING)
    entries = context.store.finding_history(real_id, query.after, query.limit + 1)
    items = [document(entry) | {"finding_id": finding_id} for entry in entries[: query.limit]]
    more = items[-1]["entry_id"] if len(entries) > query.limit else None
    return json_response({"items": items, "next": more})


@router.post("/v1/findings/{finding_id}/state", response_model=FindingDocument, responses=problems(404, 422, 503))
def set_state(finding_id: FindingId, body: StateBody, context: Context, shown: Shown, who: Who) -> Response:
    """Say what became of a finding. A resolved one that is seen again is open again."""
    change = FindingChange(state=body.state)
    return _respond(_change(context, shown.real_id(finding_id), change, who.name), shown)


@router.put("/v1/findings/{finding_id}/assignee", response_model=FindingDocument, responses=problems(404, 422, 503))
def set_assignee(finding_id: FindingId, body: AssigneeBody, context: Context, shown: Shown, who: Who) -> Response:
    """Say who is to look into a finding."""
    change = FindingChange(assignee=body.assignee)
    return _respond(_change(context, shown.real_id(finding_id), change, who.name), shown)


@router.post(
    "/v1/findings/{finding_id}/comments", response_model=FindingDocument, responses=problems(404, 409, 422, 503)
)
def add_comment(finding_id: FindingId, body: CommentBody, context: Context, shown: Shown, who: Who) -> Response:
    """Write something down that belongs to a finding; it stands in its history."""
    change = FindingChange(comment=body.comment)
    try:
        return _respond(_change(context, shown.real_id(finding_id), change, who.name), shown)
    except HistoryFull as error:
        raise Problem(Kind.CONFLICT, str(error)) from None


def _change(context: ApiContext, finding_id: str, wanted: FindingChange, actor: str) -> Finding | None:
    return context.store.change_finding(finding_id, wanted, actor, context.now_ns())


def _respond(finding: Finding | None, shown: Shown) -> Response:
    if finding is None:
        raise Problem(Kind.NOT_FOUND, NO_FINDING)
    return json_response(document(shown.finding(finding)))
