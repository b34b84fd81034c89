"""Sessions of people: who is signed in, and ending that."""

from typing import Annotated

from fastapi import APIRouter, Path
from starlette.responses import Response

from api.dependencies import Context
from api.documents import document, json_response
from api.openapi import problems
from api.problems import Kind, Problem
from api.schemas.access import SessionList

router = APIRouter(tags=["access"])


@router.get("/v1/sessions", response_model=SessionList, responses=problems(503))
def list_sessions(context: Context) -> Response:
    """Sessions that are not over, the one used last first; revoked ones until they would have been."""
    rows = [document(session) for session in context.store.sessions(context.now_ns())]
    return json_response({"items": [{name: row[name] for name in row if name != "digest"} for row in rows]})


@router.post("/v1/sessions/{session_id}/revoke", status_code=204, responses=problems(404, 422, 503))
def revoke_session(session_id: Annotated[str, Path(max_length=16)], context: Context) -> Response:
    """End a session for good; its person has to sign in again."""
    if not context.store.revoke_session(session_id, context.now_ns()):
        raise Problem(Kind.NOT_FOUND, "No such session is open; /v1/sessions lists them.")
    return Response(status_code=204)
