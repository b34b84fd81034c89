"""Who the server takes you for, what you may call, and the description of everything."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from api.access.principal import principal_of
from api.access.sessions import COOKIE, csrf_of
from api.access.table import TABLE
from api.documents import json_response
from api.openapi import problems
from api.schemas.access import MeDocument
from rules.values.event import rfc3339

router = APIRouter(tags=["access"])


@router.get("/v1/me", response_model=MeDocument, responses=problems())
def get_me(request: Request) -> Response:
    """Who you are here, and what you may call. A person's page sends `csrf_token` back with everything that changes."""
    who = principal_of(request)
    session = who.session
    return json_response(
        {
            "kind": who.kind,
            "id": who.id,
            "name": who.name,
            "role": who.role,
            "scopes": sorted(who.scopes),
            "may": sorted(f"{method} {path}" for (method, path), rule in TABLE.items() if who.may(rule)),
            "authenticated_at": rfc3339(session.authenticated_at_ns) if session else None,
            "expires_at": rfc3339(session.expires_at_ns) if session else None,
            "csrf_token": csrf_of(request.cookies[COOKIE]) if session else None,
        }
    )


@router.get("/v1/openapi.json", include_in_schema=False)
def get_description(request: Request) -> Response:
    """Return the OpenAPI description."""
    return json_response(request.app.openapi())
