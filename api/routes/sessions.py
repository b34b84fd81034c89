"""Sessions of people: who is signed in, and ending that."""

from typing import Annotated

from fastapi import APIRouter, Path
from starlette.requests import Request
from starlette.responses import Response

from api.access.gate import access_of
from api.dependencies import Context
from api.documents import document, json_response
from api.openapi import problems
from api.problems import Kind, Problem
from api.schemas.access import SessionList

NOT_SHOWN = ("digest", "provider_sid", "provider_groups")

router = APIRouter(tags=["access"])


@router.get("/v1/sessions", response_model=SessionList, responses=problems(503))
def list_sessions(context: Context, request: Request) -> Response:
    """Sessions that are not over, the one used last first; revoked ones until they would have been."""
    config = access_of(request).config
    found = context.store.sessions(context.now_ns())
    rows = [document(it) | {"role": config.role_of(it) or it.role} for it in found]
    return json_response({"items": [{name: row[name] for name in row if name not in NOT_SHOWN} for row in rows]})


@router.post("/v1/sessions/{session_id}/revoke", status_code=204, responses=problems(404, 422, 503))
def revoke_session(session_id: Annotated[str, Path(max_length=16)], context: Context) -> Response:
    """End a session for good; its person has to sign in again."""
    if not context.store.revoke_session(session_id, context.now_ns()):
        raise Problem(Kind.NOT_FOUND, "No such session is open; /v1/sessions lists them.")
    return Response(status_code=204)
