"""The outermost request handler: request ids, security headers, HEAD, counting, and what a crash looks like outside."""

import time
import uuid
from collections.abc import Mapping, MutableMapping
from typing import Any

import structlog
from starlette.concurrency import run_in_threadpool
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.access.audit import ACT, end_act
from api.metrics import RequestMetrics
from api.problems import Kind, Problem
from api.serving.streaming import ANSWER_HEADERS, HEADERS_ONLY, REQUEST_ID
from db.errors import DbError


def _raw(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    """Return headers as ASGI has them."""
    return [(name.lower().encode(), value.encode()) for name, value in headers.items()]


SECURITY_HEADERS = _raw(
    {
        "Content-Security-Policy": (
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
            "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
        ),
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
        "Referrer-Policy": "no-referrer",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    }
)
OVER_TLS = [*SECURITY_HEADERS, (b"strict-transport-security", b"max-age=31536000")]

log = structlog.get_logger("api")


class RequestBoundary:
    """ASGI middleware around everything else.

    HEAD is answered as GET without the body, on every route. What escapes the handlers is logged with the request's id
    and answered without details.
    """

    def __init__(self, app: ASGIApp, metrics: RequestMetrics) -> None:
        self.app = app
        self.metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, whatever happens inside."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        method, started = scope["method"], time.perf_counter()
        if method == "HEAD":  # the server needs its own scope as it is, to leave the body out
            scope = {**scope, "method": "GET", HEADERS_ONLY: True}
        response = _Response(send, scope, request_id=str(uuid.uuid4()), has_body=method != "HEAD")
        scope[REQUEST_ID] = response.request_id
        try:
            await self.app(scope, receive, response.send)
        except Problem as problem:
            await response.answer(problem, scope, receive)
        except Exception as error:  # noqa: BLE001 - the outermost request handler; logged and counted
            await self._report(error, response, scope, receive)
        finally:
            route = getattr(scope.get("route"), "path", scope.get("root_path")) or "unmatched"
            self.metrics.count(method, route, response.status, time.perf_counter() - started)

    async def _report(self, error: Exception, response: "_Response", scope: Scope, receive: Receive) -> None:
        log.error("request_failed", correlation_id=response.request_id, path=scope["path"], exc_info=error)
        if response.is_started:
            raise error
        detail = "Try again; if it stays, look for the correlation id in the log of this server."
        extensions: dict[str, object] = {"correlation_id": response.request_id}
        await response.answer(Problem(Kind.INTERNAL, detail, extensions=extensions), scope, receive)


async def _end_act(scope: Scope, status: int) -> None:
    """Have noted, before the answer, what came of the act that the request is."""
    act = scope.get(ACT)
    if act is None:
        return
    try:
        state = scope["app"].state
        await run_in_threadpool(end_act, state.context.store, act, status, state.refusals.note)
    except DbError as error:
        log.warning("act_not_noted", action=act.entry.action, target=act.entry.target, status=status, reason=str(error))


class _Response:
    """The sending side of one request: adds the headers that every response has, and keeps its status."""

    def __init__(self, send: Send, scope: Scope, request_id: str, *, has_body: bool) -> None:
        self._send = send
        self._scope = scope
        self.request_id = request_id
        self.has_body = has_body
        self.status = 500
        self.is_started = False

    async def send(self, message: Message) -> None:
        """Pass a message on to the server."""
        if message["type"] == "http.response.start":
            self.is_started, self.status = True, message["status"]
            await _end_act(self._scope, self.status)
            self._add_headers(message)
        elif message["type"] == "http.response.body" and not self.has_body:
            message = {**message, "body": b""}
        await self._send(message)

    async def answer(self, problem: Problem, scope: Scope, receive: Receive) -> None:
        """Send `problem` as the whole response."""
        await problem.to_response(scope["path"])(scope, receive, self.send)

    def _add_headers(self, message: MutableMapping[str, Any]) -> None:
        own = _raw({"X-Request-Id": self.request_id} | self._scope.get(ANSWER_HEADERS, {}))
        of_all = OVER_TLS if self._scope["scheme"] == "https" else SECURITY_HEADERS
        said = {name for name, _value in message["headers"]}
        message["headers"] = [*message["headers"], *(pair for pair in (*own, *of_all) if pair[0] not in said)]
