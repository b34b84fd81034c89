"""How errors from below become problems: the framework's own, refused parameters, and the database's."""

import structlog
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from api.problems import Kind, Problem
from db.errors import DbError

RETRY_AFTER_S = 10
MAX_ERRORS = 10
MAX_ECHO = 200

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
    return problem.to_response(request.url.path)


def answer_http_exception(request: Request, error: HTTPException) -> Response:
    """Return what the framework raised: no such path, no such method."""
    kind = _KINDS.get(error.status_code, Kind.OTHER)
    headers = dict(error.headers or {})
    if headers.get("Allow") == "GET":
        headers["Allow"] = "GET, HEAD"
    return Problem(kind, _FIXES[kind], headers).to_response(request.url.path, error.status_code)


def answer_invalid(request: Request, error: RequestValidationError) -> Response:
    """Return which parameters were refused and why, without repeating their values."""
    errors = [
        {"parameter": _parameter(row["loc"]), "detail": _explain(row["type"], row["msg"])}
        for row in error.errors()[:MAX_ERRORS]
    ]
    detail = "; ".join(f"{row['parameter']}: {row['detail']}" for row in errors)
    return Problem(Kind.INVALID_PARAMETER, detail, extensions={"errors": errors}).to_response(request.url.path)


def answer_database(request: Request, error: DbError) -> Response:
    """Return that the database does not answer; why is for the log."""
    log.error("store_failed", path=request.url.path, error=str(error))
    detail = f"Try again in {RETRY_AFTER_S} seconds; the log of this server says why."
    return Problem(Kind.STORE_UNAVAILABLE, detail, {"Retry-After": str(RETRY_AFTER_S)}).to_response(request.url.path)


def _explain(kind: str, message: str) -> str:
    if kind == "extra_forbidden":
        return "no such parameter here; /v1/openapi.json lists them"
    return message.removeprefix("Value error, ")[:MAX_ECHO]


def _parameter(location: tuple[int | str, ...]) -> str:
    return ".".join(str(part) for part in location[1:])[:MAX_ECHO] or "query"
