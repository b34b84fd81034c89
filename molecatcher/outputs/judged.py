"""Connections of a library that connects by itself, each judged at the moment it is made.

Python tells audit hooks (PEP 578) of a connection just before it is made, with the address itself: so neither a name
that points elsewhere a moment later (DNS rebinding) nor a redirect leads to where outputs may not speak.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any

from molecatcher.outputs.target import TargetGuard

_CONNECTIONS = frozenset({"socket.connect", "socket.sendto", "socket.sendmsg"})
_guard: ContextVar[TargetGuard | None] = ContextVar("guard_of_outputs", default=None)


@contextmanager
def judged_by(guard: TargetGuard) -> Iterator[None]:
    """Let what this thread connects to within be judged by `guard`; what is refused fails as an `OSError`."""
    _listen()
    before = _guard.set(guard)
    try:
        yield
    finally:
        _guard.reset(before)


@cache  # a hook cannot be taken away again, and costs a call for each event of the process: only where it is needed
def _listen() -> None:
    sys.addaudithook(_judge)


def _judge(event: str, arguments: tuple[Any, ...]) -> None:
    if event in _CONNECTIONS and (guard := _guard.get()) is not None:
        guard.require(arguments[1])
