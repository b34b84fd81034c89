"""What the organisation says of the lists itself: what is listed beyond the catalogue, and what no list holds."""

from typing import Annotated

from fastapi import APIRouter, Path
from starlette.responses import Response

from api.caller import Who
from api.context import ApiContext
from api.dependencies import Context
from api.documents import json_response
from api.openapi import problems
from api.policy.blocked import blocked_document, blocked_documents, never_blocked_documents
from api.policy.checks import require_blocked, require_never_blocked
from api.problems import Kind, Problem
from api.requests.bodies import BlockedBody
from api.schemas.workflow import BlockedDocument, BlockedList
from db.workflow.policy import MAX_BLOCKED
from db.workflow.values import StoredBlocked
from rules.values.event import uuid7

router = APIRouter(tags=["lists"])
NO_ENTRY = "No entry that was made over the API has this id; the list of entries has their ids."
FULL = f"{MAX_BLOCKED} entries were made, which is all there is room for: remove some first."
EntryId = Annotated[str, Path(max_length=64)]


@router.get("/v1/blocked", response_model=BlockedList, responses=problems(503))
def list_blocked(context: Context) -> Response:
    """Every entry of our own: the policy file's first, then those made over the API, newest first."""
    return json_response({"items": blocked_documents(context)})


@router.post("/v1/blocked", status_code=201, response_model=BlockedDocument, responses=problems(409, 422, 503))
def block(body: BlockedBody, context: Context, who: Who) -> Response:
    """Put a name, an address or a network on the block lists. Refused is what would hit something sanctioned."""
    require_blocked(body, context.ruleset(), context.now_ns())
    return _keep(body, context, who, is_never=False)


@router.delete("/v1/blocked/{entry_id}", status_code=204, responses=problems(404, 422, 503))
def unblock(entry_id: EntryId, context: Context) -> Response:
    """Take an entry that was made over the API off the lists."""
    return _remove(entry_id, context, is_never=False)


@router.get("/v1/never-blocked", response_model=BlockedList, responses=problems(503))
def list_never_blocked(context: Context) -> Response:
    """Every entry that is kept off every list: the policy file's first, then those made over the API."""
    return json_response({"items": never_blocked_documents(context)})


@router.post("/v1/never-blocked", status_code=201, response_model=BlockedDocument, responses=problems(409, 422, 503))
def never_block(body: BlockedBody, context: Context, who: Who) -> Response:
    """Keep a name, an address or a network off every list. Verdicts stay as they are."""
    require_never_blocked(body, context.ruleset(), context.now_ns())
    return _keep(body, context, who, is_never=True)


@router.delete("/v1/never-blocked/{entry_id}", status_code=204, responses=problems(404, 422, 503))
def allow_blocking(entry_id: EntryId, context: Context) -> Response:
    """Let lists hold again what an entry that was made over the API kept off them."""
    return _remove(entry_id, context, is_never=True)


def _keep(body: BlockedBody, context: ApiContext, who: Who, *, is_never: bool) -> Response:
    now_ns = context.now_ns()
    made = StoredBlocked(
        entry_id=uuid7(now_ns), is_never=is_never, **body.model_dump(), created_by=who.name, created_at_ns=now_ns
    )
    if not context.store.policy.add_blocked(made):
        raise Problem(Kind.CONFLICT, FULL)
    context.policy_changed()
    return json_response(blocked_document(made, context), 201)


def _remove(entry_id: str, context: ApiContext, *, is_never: bool) -> Response:
    if not context.store.policy.remove_blocked(entry_id, is_never=is_never):
        raise Problem(Kind.NOT_FOUND, NO_ENTRY)
    context.policy_changed()
    return Response(status_code=204)
