"""Sanctioned ingresses: the policy file's are shown, those made here are kept; where both speak the file wins."""

from typing import Annotated

import msgspec
from fastapi import APIRouter, Path
from starlette.responses import Response

from api.caller import Who
from api.dependencies import Context
from api.documents import json_response
from api.openapi import problems
from api.policy.checks import SANCTIONED, require_sanction
from api.policy.sanctioned import ingress_document, ingress_documents
from api.problems import Kind, Problem
from api.requests.bodies import SanctionBody
from api.schemas.workflow import IngressDocument, IngressList
from db.workflow.policy import MAX_SANCTIONS
from db.workflow.values import ExceptionStatus, StoredSanction
from rules.values.event import uuid7

router = APIRouter(tags=["policy"])
SanctionId = Annotated[str, Path(max_length=64)]
NO_SANCTION = "No ingress that was sanctioned over the API has this id; /v1/sanctioned lists them."
FULL = f"{SANCTIONED} At most {MAX_SANCTIONS} are kept."
NOT_WAITING = "This ingress does not wait for approval by you: who asked for it cannot approve it."


@router.get("/v1/sanctioned", response_model=IngressList, responses=problems(503))
def list_sanctioned(context: Context) -> Response:
    """Every sanctioned ingress: the policy file's first, then those made over the API, by domain."""
    return json_response({"items": ingress_documents(context)})


@router.post("/v1/sanctioned", status_code=201, response_model=IngressDocument, responses=problems(409, 422, 503))
def sanction(body: SanctionBody, context: Context, who: Who) -> Response:
    """Sanction an ingress; where a second person must agree, it waits for that (`requested`).

    Refused is a public suffix, a name that covers a catalogue name, and what the policy file blocks.
    """
    now_ns = context.now_ns()
    wanted = require_sanction(body, context.ruleset(), now_ns)
    status = ExceptionStatus.REQUESTED if context.needs_approval() else ExceptionStatus.ACTIVE
    history = {"sanction_id": uuid7(now_ns), "status": status, "requested_by": who.name, "requested_at_ns": now_ns}
    made = msgspec.convert(body.model_dump() | {"domain": wanted.domain} | history, StoredSanction)
    if not context.store.policy.add_sanction(made):
        raise Problem(Kind.CONFLICT, FULL)
    context.policy_changed()
    return json_response(ingress_document(made, context), 201)


@router.post(
    "/v1/sanctioned/{sanction_id}/approve", response_model=IngressDocument, responses=problems(404, 409, 422, 503)
)
def approve_sanction(sanction_id: SanctionId, context: Context, who: Who) -> Response:
    """Agree to an ingress that another person asked for."""
    is_done = context.store.policy.approve_sanction(sanction_id, who.name, context.now_ns())
    if is_done:
        context.policy_changed()
    found = next((row for row in context.store.policy.sanctions() if row.sanction_id == sanction_id), None)
    if found is None:
        raise Problem(Kind.NOT_FOUND, NO_SANCTION)
    if not is_done:
        raise Problem(Kind.CONFLICT, NOT_WAITING)
    return json_response(ingress_document(found, context))


@router.delete("/v1/sanctioned/{sanction_id}", status_code=204, responses=problems(404, 422, 503))
def end_sanction(sanction_id: SanctionId, context: Context) -> Response:
    """Remove an ingress that was made over the API, or refuse one that waits: its agents are findings from then on."""
    if not context.store.policy.remove_sanction(sanction_id):
        raise Problem(Kind.NOT_FOUND, NO_SANCTION)
    context.policy_changed()
    return Response(status_code=204)
