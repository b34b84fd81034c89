"""What handlers ask for: the context, and the tail of new events."""

from typing import Annotated

from fastapi import Depends
from starlette.requests import Request

from api.access.audit import ACT
from api.context import ApiContext
from api.tail import EventTail


def _context(request: Request) -> ApiContext:
    """Return the context; where an act is under way, with the store that notes what it changes."""
    context: ApiContext = request.app.state.context
    act = request.scope.get(ACT)
    return context.on_behalf_of(act) if act else context


def _tail(request: Request) -> EventTail:
    tail: EventTail = request.app.state.tail
    return tail


Context = Annotated[ApiContext, Depends(_context)]
Tail = Annotated[EventTail, Depends(_tail)]
