"""The policy in force, to read, and what a change of it would do."""

import msgspec
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from api.access.principal import principal_of
from api.access.table import TABLE
from api.dependencies import Context
from api.documents import json_response, policy_document
from api.openapi import problems
from api.policy.preview import make_preview
from api.requests.bodies import DraftBody
from api.schemas.policy import PolicyDocument
from api.schemas.workflow import PreviewDocument
from api.veil import Shown

router = APIRouter(tags=["policy"])


@router.get("/v1/policy", response_model=PolicyDocument, responses=problems())
def get_policy(context: Context) -> Response:
    """What is sanctioned, and whether the newest policy file could be used."""
    return json_response(policy_document(context.policy_status(), context.ruleset().basis.policy_digest))


@router.post("/v1/policy/preview", response_model=PreviewDocument, responses=problems(409, 422, 503))
def preview_policy(body: DraftBody, context: Context, veil: Shown, request: Request) -> Response:
    """What a change would do, without making it: entries that come and go on each list, findings that change.

    Findings: the newest 200 that are not resolved and were seen within 30 days, by their newest events, and the newest
    500 sanctioned events. A part of the change that could not be kept is named in `errors`.
    """
    may_read = principal_of(request).may(TABLE["GET", "/v1/findings"])
    found = msgspec.to_builtins(make_preview(body, context, veil, shows_findings=may_read))
    for row in found["lists"]:
        row["list"] = row.pop("list_name")
    return json_response(found)
