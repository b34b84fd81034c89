"""Connections that end, however slow the client is: it holds a place, and the bytes of a list, for so long at most."""

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

from api.streaming import CUT_OFF

FIRST_REQUEST_S = 10.0
CONNECTION_S = 120.0
MAX_AN_ADDRESS = 32
PEER_CERTIFICATE = "peer_certificate"


class LocalProtocol(H11Protocol):
    """HTTP/1.1 where whoever answers can cut the connection off: what cuts is in `request.state`."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as its parent has it
        """Take a connection."""
        super().connection_made(transport)
        self.app_state = self.app_state | {CUT_OFF: transport.abort}


class BoundedProtocol(LocalProtocol):
    """The same with deadlines for the first request and the whole connection, and a share for each address.

    The subject of a client's certificate, which TLS has checked, is in `request.state` for whoever decides by it.
    """

    connection_s: float | None = CONNECTION_S

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._deadlines: list[asyncio.TimerHandle] = []

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as its parent has it
        """Take a connection, unless its address has too many."""
        super().connection_made(transport)
        if self._count_of_address() > MAX_AN_ADDRESS:
            transport.abort()
            return
        self.app_state = self.app_state | {PEER_CERTIFICATE: _subject(transport.get_extra_info("peercert"))}
        self._deadlines = [self.loop.call_later(FIRST_REQUEST_S, self._require_request)]
        if self.connection_s is not None:
            self._deadlines.append(self.loop.call_later(self.connection_s, transport.abort))

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the deadlines."""
        for deadline in self._deadlines:
            deadline.cancel()
        super().connection_lost(exc)

    def _require_request(self) -> None:
        if not self.cycle:
            self.transport.abort()

    def _count_of_address(self) -> int:
        own = self.client and self.client[0]
        clients = (getattr(other, "client", None) for other in self.connections)
        return sum(1 for client in clients if client and client[0] == own)


class PatientProtocol(BoundedProtocol):
    """The same for connections that may stay: pages, streams of events, sensors."""

    connection_s = None


def _subject(certificate: dict[str, Any] | None) -> str:
    """Return the subject of a certificate that was checked, "" without one."""
    pairs = [f"{name}={value}" for row in (certificate or {}).get("subject", ()) for name, value in row]
    return ", ".join(pairs) or ("unnamed" if certificate else "")
