"""Errors as `application/problem+json` (RFC 9457): the kinds there are, and how one becomes a response.

A kind's `type` URI never changes its meaning. `detail` says what to do about it.
"""

from dataclasses import dataclass, field
from enum import Enum
from http import HTTPStatus

import msgspec
from starlette.responses import Response

from api.errors import ApiError

MEDIA_TYPE = "application/problem+json"
BOUNCERS_PATH = "/v1/decisions"
BOUNCERS_PATHS = (BOUNCERS_PATH, "/v1/usage-metrics")
FORBIDDEN = {"message": "access forbidden"}  # the words of CrowdSec's own API, which bouncers know
TYPE_PREFIX = "urn:molecatcher:problem:"


class Kind(Enum):
    """The kinds of problem: the end of the `type` URI, the status, the title."""

    BAD_REQUEST = ("bad-request", HTTPStatus.BAD_REQUEST, "The request cannot be understood")
    INVALID_CURSOR = ("invalid-cursor", HTTPStatus.BAD_REQUEST, "The cursor does not belong to this query")
    INVALID_PARAMETER = (
        "invalid-parameter",
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "A parameter has a value that cannot be used",
    )
    NOT_KNOWN = ("not-authenticated", HTTPStatus.UNAUTHORIZED, "A credential that is good here is needed")
    NOT_ALLOWED = ("not-allowed", HTTPStatus.FORBIDDEN, "The credential does not open this")
    OTHER_SITE = ("other-site", HTTPStatus.FORBIDDEN, "The request may come from another site's page")
    STEP_UP = ("step-up-needed", HTTPStatus.UNAUTHORIZED, "A fresh sign-in is needed for this")
    RATE_LIMITED = ("too-many-requests", HTTPStatus.TOO_MANY_REQUESTS, "Too many requests")
    NOT_FOUND = ("not-found", HTTPStatus.NOT_FOUND, "There is nothing here")
    EMPTY_LIST = ("empty-list", HTTPStatus.NOT_FOUND, "The list is empty")
    NOT_ACCEPTABLE = ("not-acceptable", HTTPStatus.NOT_ACCEPTABLE, "The answer has another media type")
    METHOD_NOT_ALLOWED = ("method-not-allowed", HTTPStatus.METHOD_NOT_ALLOWED, "The method is not allowed here")
    CONFLICT = ("conflict", HTTPStatus.CONFLICT, "That is not how things stand now")
    NOT_SIGNED = ("not-signed", HTTPStatus.BAD_REQUEST, "The webhook is not signed as it must be")
    KEY_REUSED = ("key-reused", HTTPStatus.UNPROCESSABLE_ENTITY, "The idempotency key belongs to another request")
    TOO_LARGE = ("request-too-large", HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "The request body is too large")
    TARGET_TOO_LONG = ("target-too-long", HTTPStatus.REQUEST_URI_TOO_LONG, "The request target is too long")
    WRONG_HOST = ("wrong-host", HTTPStatus.MISDIRECTED_REQUEST, "This server does not answer for that host")
    INTERNAL = ("internal-error", HTTPStatus.INTERNAL_SERVER_ERROR, "Something went wrong here")
    NOT_READY = ("not-ready", HTTPStatus.SERVICE_UNAVAILABLE, "The service is not ready")
    NO_SNAPSHOT = ("no-snapshot", HTTPStatus.SERVICE_UNAVAILABLE, "The list has not been built yet")
    UNRENDERABLE_LIST = (
        "unrenderable-list",
        HTTPStatus.SERVICE_UNAVAILABLE,
        "The list cannot be written in this format",
    )
    CREDENTIALS_UNAVAILABLE = (
        "credentials-unavailable",
        HTTPStatus.SERVICE_UNAVAILABLE,
        "Credentials cannot be judged now",
    )
    TOO_MANY_STREAMS = ("too-many-streams", HTTPStatus.SERVICE_UNAVAILABLE, "No more streams can be opened now")
    STORE_UNAVAILABLE = ("store-unavailable", HTTPStatus.SERVICE_UNAVAILABLE, "The database does not answer")
    BUSY = ("busy", HTTPStatus.SERVICE_UNAVAILABLE, "Too much is being written just now")
    OTHER = ("other", HTTPStatus.BAD_REQUEST, "The request was refused")

    def __init__(self, name: str, status: HTTPStatus, title: str) -> None:
        self.uri = TYPE_PREFIX + name
        self.status = status
        self.title = title


@dataclass(slots=True)
class Problem(ApiError):
    """An answer other than success. `extensions` are further members (RFC 9457 section 3.2)."""

    kind: Kind
    detail: str
    headers: dict[str, str] = field(default_factory=dict)
    extensions: dict[str, object] = field(default_factory=dict)

    def to_response(self, path: str, status: int | None = None) -> Response:
        """Return the response to a request for `path`; `status` overrides the kind's own, for errors from below.

        CrowdSec's bouncers end with a trace when an error has no `message`.
        """
        if path.startswith(BOUNCERS_PATHS) and self.kind in {Kind.NOT_KNOWN, Kind.NOT_ALLOWED}:
            return Response(msgspec.json.encode(FORBIDDEN), 403, {"Cache-Control": "no-store"}, "application/json")
        code = status or self.kind.status.value
        body: dict[str, object] = {
            "type": self.kind.uri,
            "title": self.kind.title,
            "status": code,
            "detail": self.detail,
        }
        if path.startswith(BOUNCERS_PATH):
            body["message"] = self.detail
        headers = {"Cache-Control": "no-store"} | self.headers
        return Response(msgspec.json.encode(body | self.extensions), code, headers, MEDIA_TYPE)
