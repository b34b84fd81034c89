"""What handlers ask for: the context, and the tail of new events."""

from typing import Annotated

from fastapi import Depends
from starlette.requests import Request

from api.context import ApiContext
from api.tail import EventTail


def _context(request: Request) -> ApiContext:
    context: ApiContext = request.app.state.context
    return context


def _tail(request: Request) -> EventTail:
    tail: EventTail = request.app.state.tail
    return tail


Context = Annotated[ApiContext, Depends(_context)]
Tail = Annotated[EventTail, Depends(_tail)]
