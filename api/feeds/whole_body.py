"""An answer whose bytes are kept and handed to many: sent a piece at a time, as fast as the client takes it."""

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

PIECE_OCTETS = 64 * 1024


class WholeBody(Response):
    """As `Response`; a slow client of a large list costs one piece of it and not a copy of the whole."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send head and body; `send` waits while the client's socket is full."""
        del scope, receive
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        view = memoryview(self.body)
        for start in range(0, max(1, len(view)), PIECE_OCTETS):
            end = start + PIECE_OCTETS
            await send({"type": "http.response.body", "body": view[start:end], "more_body": end < len(view)})
