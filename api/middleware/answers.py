"""How errors from below become problems: the framework's own, refused parameters, and the database's."""

from urllib.parse import urlencode

import structlog
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Match

from api.access.principal import NOBODY, principal_of
from api.page.render import render
from api.problems import Kind, Problem
from db.errors import DbError

RETRY_AFTER_S = 10
MAX_ERRORS = 10
MAX_ECHO = 200
MACHINES = ("/v1/", "/feeds/", "/taxii2/", "/metrics")

_KINDS = {404: Kind.NOT_FOUND, 405: Kind.METHOD_NOT_ALLOWED, 413: Kind.TOO_LARGE}
_FIXES = {
    Kind.NOT_FOUND: "Look at /v1/openapi.json for what there is.",
    Kind.METHOD_NOT_ALLOWED: "Use a method that the Allow header names.",
    Kind.TOO_LARGE: "Send a smaller body.",
    Kind.OTHER: "Look at /v1/openapi.json for how to ask.",
}

log = structlog.get_logger("api")


def answer_problem(request: Request, problem: Problem) -> Response:
    """Return a problem that a handler raised."""
    return _respond(request, problem)


def answer_http_exception(request: Request, error: HTTPException) -> Response:
    """Return what the framework raised: no such path, no such method."""
    kind = _KINDS.get(error.status_code, Kind.OTHER)
    headers = dict(error.headers or {})
    if "Allow" in headers:
        headers["Allow"] = ", ".join(_allowed(request))
    return _respond(request, Problem(kind, _FIXES[kind], headers), error.status_code)


def answer_invalid(request: Request, error: RequestValidationError) -> Response:
    """Return which parameters were refused and why, without repeating their values."""
    errors = [
        {"parameter": _parameter(row["loc"]), "detail": _explain(row["type"], row["msg"])}
        for row in error.errors()[:MAX_ERRORS]
    ]
    detail = "; ".join(f"{row['parameter']}: {row['detail']}" for row in errors)
    return _respond(request, Problem(Kind.INVALID_PARAMETER, detail, extensions={"errors": errors}))


def answer_database(request: Request, error: DbError) -> Response:
    """Return that the database does not answer; why is for the log."""
    log.error("store_failed", path=request.url.path, error=str(error))
    detail = f"Try again in {RETRY_AFTER_S} seconds; the log of this server says why."
    return _respond(request, Problem(Kind.STORE_UNAVAILABLE, detail, {"Retry-After": str(RETRY_AFTER_S)}))


def _respond(request: Request, problem: Problem, status: int | None = None) -> Response:
    """Return the problem as a page to whoever reads pages, as JSON to all others."""
    path = request.url.path
    wants_page = request.headers.get("accept", "").startswith("text/html") and not path.startswith(MACHINES)
    if wants_page and problem.kind is Kind.NOT_KNOWN and not path.startswith("/sign-in"):
        target = f"{path}?{request.url.query}" if request.url.query else path
        return RedirectResponse(f"/sign-in?{urlencode({'next': target})}", 303, {"Cache-Control": "no-store"})
    if not wants_page or not hasattr(request.app.state, "templates") or not _may_see_pages(request):
        return problem.to_response(path, status)
    page = render(request, "error.html", None, status or problem.kind.status.value, problem=problem)
    page.headers.update(problem.headers)
    return page


def _allowed(request: Request) -> list[str]:
    """Return the methods of every route at this path; the framework names those of the first one only."""
    methods: set[str] = set()
    entries = (getattr(entry, "original_router", entry) for entry in request.app.routes)
    for route in (route for entry in entries for route in getattr(entry, "routes", None) or [entry]):
        if route.matches(request.scope)[0] is not Match.NONE:
            methods |= getattr(route, "methods", None) or {"GET"}
    return sorted(methods | ({"HEAD"} if "GET" in methods else set()))


def _may_see_pages(request: Request) -> bool:
    """Tell whether whoever asks may see the navigation; at an address of no route nobody was asked yet."""
    control = request.app.state.access
    return principal_of(request) is not NOBODY or bool(control.trusts(request))


def _explain(kind: str, message: str) -> str:
    if kind == "extra_forbidden":
        return "no such parameter here; /v1/openapi.json lists them"
    return message.removeprefix("Value error, ")[:MAX_ECHO]


def _parameter(location: tuple[int | str, ...]) -> str:
    return ".".join(str(part) for part in location[1:])[:MAX_ECHO] or "query"
