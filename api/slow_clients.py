"""Connections that end, however slow the client is: it holds a place, and the bytes of a list, for so long at most."""

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

FIRST_REQUEST_S = 10.0
CONNECTION_S = 120.0
MAX_AN_ADDRESS = 32


class BoundedProtocol(H11Protocol):
    """HTTP/1.1 with deadlines for the first request and the whole connection, and a share for each address."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._deadlines: list[asyncio.TimerHandle] = []

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as its parent has it
        """Take a connection, unless its address has too many."""
        super().connection_made(transport)
        if self._count_of_address() > MAX_AN_ADDRESS:
            transport.abort()
            return
        self._deadlines = [
            self.loop.call_later(FIRST_REQUEST_S, self._require_request),
            self.loop.call_later(CONNECTION_S, transport.abort),
        ]

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
