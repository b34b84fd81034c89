"""What every program of the live comparison offers: how it is started on an interface, and what came of it."""

from collections.abc import Callable
from dataclasses import dataclass

from peers.program import Ends, Work


@dataclass(frozen=True, slots=True)
class Outcome:
    """Packets that reached the program's socket, those of them that it lost, and the five-tuples that it flagged."""

    offered: int
    lost: int
    found: set[Ends]


@dataclass(frozen=True, slots=True)
class Receiver:
    """A program that listens: `ready` is what it logs once it does; `outcome` takes what it logged, after its end."""

    name: str
    version: Callable[[], str | None]
    command: Callable[[Work, str], list[str]]
    ready: str
    outcome: Callable[[Work, str], Outcome]
