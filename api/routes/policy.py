"""The policy in force, to read."""

from fastapi import APIRouter
from starlette.responses import Response

from api.dependencies import Context
from api.documents import json_response, policy_document
from api.openapi import problems
from api.schemas import PolicyDocument

router = APIRouter(tags=["policy"])


@router.get("/v1/policy", response_model=PolicyDocument, responses=problems())
def get_policy(context: Context) -> Response:
    """What is sanctioned, and whether the newest policy file could be used."""
    return json_response(policy_document(context.policy_status()))
