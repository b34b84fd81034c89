"""What a request must be before anything reads it: for a loopback host, of bounded size, of clean text.

The Host check is what keeps a web page elsewhere from reading the API through a name that it points at 127.0.0.1
(DNS rebinding): there is no authentication on loopback to stop it.
"""

import ipaddress
import re
from collections import Counter
from collections.abc import Callable, Collection
from urllib.parse import parse_qsl, unquote_to_bytes

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.problems import Kind, Problem

MAX_BODY_OCTETS = 64 * 1024
LARGE_BODIES = {"/v1/events:batch": 5_000_000}
MAX_TARGET_OCTETS = 8192
MAX_NAME = 64  # of a parameter's name in an answer
MACHINES = ("/v1/", "/feeds/", "/taxii2/", "/misp/")
LOOPBACK_NAMES = ("localhost", "localhost.localdomain", "ip6-localhost")
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")  # Unicode's category Cc


class RequestGuard:
    """ASGI middleware that refuses, by raising `Problem`, what no handler should see."""

    def __init__(self, app: ASGIApp, *, hosts: Callable[[], Collection[str]] | None) -> None:
        """Guard `app`, which answers for loopback names and `hosts`, asked for each request, in small letters.

        None: for all, each request proving who it is.
        """
        self.app = app
        self.hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on that may be read."""
        if scope["type"] == "http":
            headers = dict(scope["headers"])
            if self.hosts is not None:
                check_host(headers.get(b"host", b"").decode("latin-1"), self.hosts())
            check_target(scope["raw_path"] or scope["path"].encode(), scope["query_string"])
            if scope["path"].startswith(MACHINES):
                check_parameters(scope["query_string"])
            limit = LARGE_BODIES.get(scope["path"], MAX_BODY_OCTETS)
            check_declared_length(headers.get(b"content-length", b"0"), limit)
            receive = _bounded(receive, limit)
        await self.app(scope, receive, send)


def check_host(host: str, hosts: Collection[str] = ()) -> None:
    """Refuse a Host header that is no loopback name or address and none of `hosts`, with or without a port."""
    name = host.lower()
    bare, colon, port = name.rpartition(":")
    if colon and not name.endswith("]"):
        name = bare if port.isdecimal() else ""
    name = name.removeprefix("[").removesuffix("]")
    if not is_loopback(name) and name not in hosts:
        detail = "Ask for http://localhost or http://127.0.0.1 with the port of this server, or by a name it was given."
        raise Problem(Kind.WRONG_HOST, detail)


def is_loopback(name: str) -> bool:
    """Tell whether `name` is a loopback name or address; an IPv4 address inside an IPv6 one is not."""
    if name in LOOPBACK_NAMES:
        return True
    try:
        return ipaddress.ip_address(name).is_loopback and not name.startswith("::ffff:")
    except ValueError:
        return False


def check_target(raw_path: bytes, query: bytes) -> None:
    """Refuse a target that is too long, is not UTF-8 or holds control characters, escaped or not."""
    if len(raw_path) + len(query) > MAX_TARGET_OCTETS:
        raise Problem(Kind.TARGET_TOO_LONG, f"Keep path and query under {MAX_TARGET_OCTETS} octets.")
    try:
        text = unquote_to_bytes(raw_path + query).decode()
    except UnicodeDecodeError:
        raise Problem(Kind.BAD_REQUEST, "Write path and query as percent-encoded UTF-8.") from None
    if CONTROL.search(text):
        raise Problem(Kind.BAD_REQUEST, "Leave control characters out of path and query.")


def check_parameters(query: bytes) -> None:
    """Refuse a parameter that is given twice: no route takes a list, and one of the values would be passed over."""
    counts = Counter(name for name, _ in parse_qsl(query.decode("latin-1"), keep_blank_values=True))
    twice = next((name for name, count in counts.items() if count > 1), None)
    if twice is not None:
        raise Problem(Kind.BAD_REQUEST, f"Give each parameter once; {twice[:MAX_NAME]} is there more often.")


def check_declared_length(length: bytes, limit: int = MAX_BODY_OCTETS) -> None:
    """Refuse a body that says it is too large."""
    if not length.isdigit() or int(length[:20]) > limit:
        raise Problem(Kind.TOO_LARGE, f"Keep the body under {limit} octets.")


def _bounded(receive: Receive, limit: int) -> Receive:
    """Return `receive` that stops a body, declared or not, when it grows too large."""
    taken = 0

    async def receive_bounded() -> Message:
        nonlocal taken
        message = await receive()
        taken += len(message.get("body", b""))
        if taken > limit:
            raise HTTPException(Kind.TOO_LARGE.status)
        return message

    return receive_bounded
