"""What the organisation lists beyond the catalogue: the policy file's entries, and those made here."""

from typing import Annotated

from fastapi import APIRouter, Path
from starlette.responses import Response

from api.caller import Who
from api.context import ApiContext
from api.dependencies import Context
from api.documents import document, json_response
from api.openapi import problems
from api.problems import Kind, Problem
from api.workflow_queries import BlockedBody
from api.workflow_schemas import BlockedDocument, BlockedList
from db.policy_store import MAX_BLOCKED
from db.workflow_values import StoredBlocked
from rules.errors import InvalidPolicy
from rules.event import uuid7
from rules.matcher import EXACT_MARK
from rules.overlay import read_blocked
from rules.policy import Blocked, PolicyOrigin
from rules.policy_tables import BlockedTable

router = APIRouter(tags=["lists"])
NO_ENTRY = "No entry that was made over the API has this id; /v1/blocked lists them."
FULL = f"{MAX_BLOCKED} entries were made, which is all there is room for: remove some first."
KNOWN = "This entry is there already: remove it first, or change it in the policy file."


@router.get("/v1/blocked", response_model=BlockedList, responses=problems(503))
def list_blocked(context: Context) -> Response:
    """Every entry of our own: the policy file's first, then those made over the API, newest first."""
    return json_response({"items": blocked_documents(context)})


@router.post("/v1/blocked", status_code=201, response_model=BlockedDocument, responses=problems(409, 422, 503))
def block(body: BlockedBody, context: Context, who: Who) -> Response:
    """Put a name, an address or a network on the block lists. Refused is what would hit something sanctioned."""
    rules, now_ns = context.ruleset(), context.now_ns()
    table = BlockedTable(entry=body.entry, owner=body.owner, reason=body.reason, expires=body.expires)
    try:
        wanted = read_blocked(table, rules.policy.sanctions, rules.catalogue, now_ns)
    except InvalidPolicy as error:
        raise Problem(Kind.INVALID_PARAMETER, str(error)) from None
    if any(_what(row) == _what(wanted) for row in rules.policy.blocked):
        raise Problem(Kind.CONFLICT, KNOWN)
    made = StoredBlocked(entry_id=uuid7(now_ns), **body.model_dump(), created_by=who.name, created_at_ns=now_ns)
    if not context.store.policy.add_blocked(made):
        raise Problem(Kind.CONFLICT, FULL)
    context.policy_changed()
    return json_response(_document(made, context), 201)


@router.delete("/v1/blocked/{entry_id}", status_code=204, responses=problems(404, 422, 503))
def unblock(entry_id: Annotated[str, Path(max_length=64)], context: Context) -> Response:
    """Take an entry that was made over the API off the lists."""
    if not context.store.policy.remove_blocked(entry_id):
        raise Problem(Kind.NOT_FOUND, NO_ENTRY)
    context.policy_changed()
    return Response(status_code=204)


def blocked_documents(context: ApiContext) -> list[dict[str, object]]:
    """Return every entry of our own as a document: the policy file's first, then those made over the API."""
    policy, now_ns = context.ruleset().policy, context.now_ns()
    in_file = [_file_document(row, now_ns) for row in policy.blocked if row.origin is PolicyOrigin.FILE]
    return [*in_file, *(_document(row, context) for row in context.store.policy.blocked())]


def _document(row: StoredBlocked, context: ApiContext) -> dict[str, object]:
    now_ns = context.now_ns()
    in_force = {_entry(known) for known in context.ruleset().policy.active_blocked(now_ns)}
    read = _entry_of(row, context)
    return document(row) | {"origin": PolicyOrigin.DATABASE, "is_in_force": read in in_force}


def _entry_of(row: StoredBlocked, context: ApiContext) -> str | None:
    rules = context.ruleset()
    table = BlockedTable(entry=row.entry, owner=row.owner, reason=row.reason, expires=row.expires)
    try:
        return _entry(read_blocked(table, rules.policy.sanctions, rules.catalogue, context.now_ns()))
    except InvalidPolicy:
        return None


def _file_document(row: Blocked, now_ns: int) -> dict[str, object]:
    return {
        "entry_id": None,
        "origin": row.origin,
        "is_in_force": row.is_active(now_ns),
        "entry": _entry(row),
        "owner": row.owner,
        "reason": row.reason,
        "expires": row.expires,
        "created_by": None,
        "created_at": None,
    }


def _entry(row: Blocked) -> str:
    return str(row.network) if row.network else row.name if row.is_subtree else f"{EXACT_MARK}{row.name}"


def _what(row: Blocked) -> object:
    return row.name, row.is_subtree, row.network, row.path
