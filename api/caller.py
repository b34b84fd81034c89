"""Who asks: what access control found out about a request, for history and for what may be shown."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends
from starlette.requests import Request

SCOPE_KEY = "molecatcher.caller"


@dataclass(frozen=True, slots=True)
class Caller:
    """A person or a machine. `sees_names` false: sources and people are shown as pseudonyms."""

    name: str
    sees_names: bool = True


LOCAL = Caller("local")  # whoever reaches the loopback address


def caller_of(request: Request) -> Caller:
    """Return who asks: `SCOPE_KEY` of the scope, which whoever controls access sets."""
    caller: Caller = request.scope.get(SCOPE_KEY, LOCAL)
    return caller


Who = Annotated[Caller, Depends(caller_of)]
