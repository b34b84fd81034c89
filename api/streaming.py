"""What endless and long answers need: whether only headers are wanted, and whether the server is about to stop."""

from collections.abc import Callable
from typing import cast

from starlette.requests import Request

HEADERS_ONLY = "molecatcher.headers_only"
ANSWER_HEADERS = "molecatcher.answer_headers"
REQUEST_ID = "molecatcher.request_id"
IS_STOPPING = "molecatcher.is_stopping"


def is_headers_only(request: Request) -> bool:
    """Tell whether the request was HEAD, which `RequestBoundary` hands on as GET."""
    return bool(request.scope.get(HEADERS_ONLY))


def stopping(request: Request) -> Callable[[], bool]:
    """Return what tells whether the server waits for this answer to end."""
    return cast("Callable[[], bool]", request.scope.get(IS_STOPPING, lambda: False))
