"""`Idempotency-Key`: a POST that is sent again with its key is answered again and does nothing again.

After draft-ietf-httpapi-idempotency-key-header-07: 409 while the first one is worked on, 422 for another request under
the same key. A key is its caller's own and holds for 24 hours. Answers of 500 and above are not kept, nor those to
whom nobody knows: they would push out the others.
"""

import hashlib
import re

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.access.principal import principal_of
from api.caller import caller_of
from api.context import ApiContext
from api.problems import Kind, Problem
from api.serving.slow_clients import PEER_CERTIFICATE
from db.access.values import ActorKind
from db.errors import DbError
from db.workflow.values import Answered

HEADER = "Idempotency-Key"
KEY = re.compile(r"[\x21-\x7e]{1,128}")
KEPT_HEADERS = ("content-type", "location", "cache-control")
CREDENTIALS = ("authorization", "x-api-key", "cookie", "x-forwarded-for")
FAILED = 500
REFUSED = (401, 403, 429)
# Their answers hold secrets that are kept nowhere; events have ids.
APART = ("/v1/tokens", "/v1/sensors:enrol", "/v1/outputs", "/v1/webhook-sources", "/v1/events:batch")
IN_FLIGHT = "The request with this key is still being worked on: wait and send it again."
MISMATCH = "Another request was sent with this key: give each request a key of its own."
MALFORMED = f"{HEADER}: give 1 to 128 visible ASCII characters, such as a UUID."
RETRY_AFTER_S = "1"


class IdempotentRequests:
    """ASGI middleware around the routes."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, from what was answered before where its key says so."""
        key = Headers(scope=scope).get(HEADER) if scope["type"] == "http" and scope["method"] == "POST" else None
        if key is None or scope["path"].startswith(APART):
            await self.app(scope, receive, send)
            return
        if not KEY.fullmatch(key):
            raise Problem(Kind.BAD_REQUEST, MALFORMED)
        request = Request(scope, receive)
        body, context, caller = await request.body(), _context(scope), _asker(request)
        fingerprint = hashlib.sha256(
            b"\n".join((scope["raw_path"] or scope["path"].encode(), scope["query_string"], body))
        ).digest()
        earlier = await run_in_threadpool(context.store.answered.begin, caller, key, fingerprint, context.now_ns())
        if earlier is not None:
            await _repeat(earlier, fingerprint)(scope, receive, send)
            return
        answer = _Kept()
        try:
            await self.app(scope, _again(body), answer.send)
        finally:
            is_known = principal_of(request).kind is not ActorKind.NOBODY
            await run_in_threadpool(_finish, context, caller, key, answer, is_known=is_known)
        for message in answer.messages:
            await send(message)


class _Kept:
    """Holds an answer back until it is noted: who has it may ask again at once."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = b""

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = Headers(raw=message["headers"])
            self.status = message["status"]
            self.headers = {name: headers[name] for name in KEPT_HEADERS if name in headers}
        elif message["type"] == "http.response.body":
            self.body += message.get("body", b"")
        self.messages.append(message)


def asker(name: str, address: str, certificate: str, *said: str) -> str:
    """Return a digest of who asks, from where, and of the credentials shown, which are judged only behind this.

    So an answer is repeated to none but who had it before.
    """
    return hashlib.sha256("\n".join([name, address, certificate, *said]).encode()).hexdigest()


def _asker(request: Request) -> str:
    address = request.client.host if request.client else ""
    certificate = getattr(request.state, PEER_CERTIFICATE, "")
    said = (request.headers.get(name, "") for name in CREDENTIALS)
    return asker(caller_of(request).name, address, certificate, *said)


def _context(scope: Scope) -> ApiContext:
    context: ApiContext = scope["app"].state.context
    return context


def _repeat(earlier: Answered, fingerprint: bytes) -> Response:
    if earlier.fingerprint != fingerprint:
        raise Problem(Kind.KEY_REUSED, MISMATCH)
    if not earlier.status:
        raise Problem(Kind.CONFLICT, IN_FLIGHT, {"Retry-After": RETRY_AFTER_S})
    return Response(earlier.body, earlier.status, {**earlier.headers, "Idempotency-Replayed": "true"})


def _finish(context: ApiContext, caller: str, key: str, answer: _Kept, *, is_known: bool) -> None:
    store = context.store.answered
    try:
        if is_known and 0 < answer.status < FAILED and answer.status not in REFUSED:
            store.finish(caller, key, Answered(b"", 0, answer.status, answer.headers, answer.body))
        else:
            store.forget(caller, key)
    except DbError:  # it is done already; without a note the key is given up after a minute
        return


def _again(body: bytes) -> Receive:
    """Return what a handler reads that the middleware has read already."""
    messages = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        return messages.pop() if messages else {"type": "http.disconnect"}

    return receive
