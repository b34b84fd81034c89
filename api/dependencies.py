"""What handlers ask for: the context and the page of rows they were asked for."""

from typing import Annotated

from fastapi import Depends
from starlette.requests import Request

from api.context import ApiContext


def _context(request: Request) -> ApiContext:
    context: ApiContext = request.app.state.context
    return context


Context = Annotated[ApiContext, Depends(_context)]
