"""Connections that end, however slow the client is, and hold little, whatever it sends."""

import asyncio
import hashlib
import ssl
from collections.abc import Callable
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from api.serving.streaming import CUT_OFF

FIRST_REQUEST_S = 10.0
CONNECTION_S = 120.0
MAX_AN_ADDRESS = 32
MAX_HEAD_OCTETS = 64 * 1024
FRAMING = (b"content-length", b"transfer-encoding")
LATE_FIELD = "a field after a body"
PEER_CERTIFICATE = "peer_certificate"


class _Parser(httptools.HttpRequestParser):
    """Reads a request for another protocol as if it had not asked for one, as RFC 9110 section 7.8 allows.

    Java's own client asks so for HTTP/2 with each first request in the clear, and so does `curl --http2`. httptools
    takes what follows the head for the other protocol, so the body is read by a second parser; the request is the last
    of its connection. uvicorn would warn each time, and anybody could fill the log.
    """

    def __init__(self, protocol: "LocalProtocol") -> None:
        super().__init__(protocol)
        self._protocol = protocol
        self._of_body: httptools.HttpRequestParser | None = None
        self.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn's own

    def feed_data(self, data: bytes) -> None:  # type: ignore[override]  # what a transport hands over
        """Read octets."""
        if self._of_body is not None:
            self._of_body.feed_data(data)
            return
        try:
            super().feed_data(data)
        except httptools.HttpParserUpgrade as asked:
            self._protocol.cycle.keep_alive = False
            self._of_body = _parser_of_body(self._protocol)
            self._of_body.feed_data(data[asked.args[0] :])


class _Body:
    """Hands the body of a request to the connection that it came on, and nothing of its head."""

    def __init__(self, protocol: "LocalProtocol") -> None:
        self.on_body, self.on_message_complete = protocol.on_body, protocol.end_body
        self._is_in_head = True

    def on_headers_complete(self) -> None:
        """Begin the body."""
        self._is_in_head = False

    def on_header(self, _name: bytes, _value: bytes) -> None:
        """Refuse a field after the body."""
        if not self._is_in_head:
            raise ValueError(LATE_FIELD)


def _parser_of_body(protocol: "LocalProtocol") -> httptools.HttpRequestParser:
    """Return what reads the body of the request whose head `protocol` has read, and refuses what follows it."""
    parser = httptools.HttpRequestParser(_Body(protocol))
    framing = [(name, value) for name, value in protocol.headers if name in FRAMING]
    fields = b"".join(b"%s: %s\r\n" % field for field in (*framing, (b"connection", b"close")))
    parser.feed_data(b"POST / HTTP/1.1\r\n%s\r\n" % fields)
    return parser


class LocalProtocol(HttpToolsProtocol):
    """HTTP/1.1 with heads of a bounded size, one request at a time: the parser bounds neither.

    A request before the answer to the one before ends the connection, as do fields after a body, and octets of which
    nothing comes: a head or a field without an end. Whoever answers can cut it off too: what cuts is in
    `request.state`.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.parser = _Parser(self)
        self._is_in_head = True
        self._has_read = False
        self._unread_octets = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as its parent has it
        """Take a connection."""
        super().connection_made(transport)
        self.app_state = self.app_state | {CUT_OFF: self.cut}

    def data_received(self, data: bytes) -> None:
        """Take octets; so many of which nothing comes end the connection."""
        self._has_read = False
        super().data_received(data)
        self._unread_octets = 0 if self._has_read else self._unread_octets + len(data)
        if self._unread_octets > MAX_HEAD_OCTETS:
            self.cut()

    def on_message_begin(self) -> None:
        """Begin to read a head."""
        if self._is_answering:
            raise ValueError("a request before the answer to the one before")
        self._is_in_head = True
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a field of a head."""
        if not self._is_in_head:
            raise ValueError(LATE_FIELD)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Answer a request."""
        self._is_in_head, self._has_read = False, True
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take octets of a body."""
        self._has_read = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        """End a request, but for one for another protocol: its body is still to be read."""
        if not self.parser.should_upgrade():
            self.end_body()

    def end_body(self) -> None:
        """End a request."""
        self._has_read = True
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Refuse what cannot be read; nothing is written into an answer that has begun."""
        if self._is_answering:
            self.cut()
        else:
            super().send_400_response(msg)

    def cut(self) -> None:
        """End the connection now, and what is being answered on it."""
        if self.cycle:
            self.cycle.disconnected = True
        self.transport.abort()

    @property
    def _is_answering(self) -> bool:
        return bool(self.cycle) and not self.cycle.response_complete


class BoundedProtocol(LocalProtocol):
    """The same with deadlines for the first request and the whole connection, and a share for each address.

    A trusted proxy, which `is_proxy` knows, has no share: many come through it.

    The SHA-256 of a client's certificate, which TLS has checked, is in `request.state` for whoever decides by it ("":
    none); its subject would not do, many have alternative names alone.
    """

    connection_s: float | None = CONNECTION_S

    def __init__(self, *args: Any, is_proxy: Callable[[str], bool], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._is_proxy = is_proxy
        self._deadlines: list[asyncio.TimerHandle] = []

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as its parent has it
        """Take a connection, unless its address has too many."""
        super().connection_made(transport)
        if self._count_of_address() > MAX_AN_ADDRESS and not self._is_proxy(self.client[0] if self.client else ""):
            self.cut()
            return
        self.app_state = self.app_state | {PEER_CERTIFICATE: _fingerprint(transport.get_extra_info("ssl_object"))}
        self._deadlines = [self.loop.call_later(FIRST_REQUEST_S, self._require_request)]
        if self.connection_s is not None:
            self._deadlines.append(self.loop.call_later(self.connection_s, self.cut))

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the deadlines."""
        for deadline in self._deadlines:
            deadline.cancel()
        super().connection_lost(exc)

    def _require_request(self) -> None:
        if not self.cycle:
            self.cut()

    def _count_of_address(self) -> int:
        own = self.client and self.client[0]
        clients = (getattr(other, "client", None) for other in self.connections)
        return sum(1 for client in clients if client and client[0] == own)


class PatientProtocol(BoundedProtocol):
    """The same for connections that may stay: pages, streams of events, sensors."""

    connection_s = None


def _fingerprint(tls: ssl.SSLObject | None) -> str:
    """Return the SHA-256 of a client's certificate, "" without one."""
    certificate = tls.getpeercert(binary_form=True) if tls else None
    return hashlib.sha256(certificate).hexdigest() if certificate else ""
