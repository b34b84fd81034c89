"""What endless and long answers need: whether only headers are wanted, whether the server is about to stop, an end."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, cast

from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.types import Message, Receive, Scope, Send

HEADERS_ONLY = "molecatcher.headers_only"
ANSWER_HEADERS = "molecatcher.answer_headers"
REQUEST_ID = "molecatcher.request_id"
IS_STOPPING = "molecatcher.is_stopping"
CUT_OFF = "cut_off"
STALLED_S = 60.0
PIECE_OCTETS = 32 * 1024


def is_headers_only(request: Request) -> bool:
    """Tell whether the request was HEAD, which `RequestBoundary` hands on as GET."""
    return bool(request.scope.get(HEADERS_ONLY))


def stopping(request: Request) -> Callable[[], bool]:
    """Return what tells whether the server waits for this answer to end."""
    return cast("Callable[[], bool]", request.scope.get(IS_STOPPING, lambda: False))


class EndlessResponse(StreamingResponse):
    """A stream whose client must take it: one that takes nothing for `STALLED_S` is cut off, and `on_stall` is called.

    Meanwhile some 100 kB wait for it: what the transport holds before it makes us wait, and a piece.
    """

    def __init__(self, content: AsyncIterator[bytes], on_stall: Callable[[], object], **options: Any) -> None:
        super().__init__(content, **options)
        self._on_stall = on_stall

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the stream until one side ends it."""

        async def send_in_time(message: Message) -> None:
            try:
                async with asyncio.timeout(STALLED_S):
                    await send(message)
            except TimeoutError:
                self._on_stall()
                scope["state"][CUT_OFF]()

        await super().__call__(scope, receive, send_in_time)


def pieces_of(octets: bytes) -> Iterator[bytes]:
    """Yield `octets` in pieces, so that few of them are held for a client that is slow."""
    for at in range(0, len(octets), PIECE_OCTETS):
        yield octets[at : at + PIECE_OCTETS]
