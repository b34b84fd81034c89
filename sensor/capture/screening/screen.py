"""What is held back of flow heads because nothing can come of it.

Nearly all look-ups and TLS connections go to names that no rule speaks of. The screen passes over them before they cost
the pipeline anything; whatever else it hands out whole, so the pipeline sees of a flow all or nothing, and reports what
it would without a screen. Which names are of interest it asks `ask`, each once, but for those that end in nothing that
the rules speak of (`follow`), as nearly all do.

Names that led a client to an address are still needed for flows that carry none: `answers`, and `asked` for where a
name is from, say what was passed over (`sensor.names.correlate`).

There is one in compiled code (`compiled`), which holds packets back where they lie in a ring or file, and one in Python
(`plain`) for where there was no compiler; it may hand out more, never less.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from enum import IntEnum
from typing import NamedTuple

from sensor.capture.faults import Faults
from sensor.packet import Packet

MOST_ENDS = 16

Ask = Callable[[int, str], bool]
Source = tuple[int, str]  # link type and interface


class Asked(IntEnum):
    """What a name that is asked about is (`enum kind` in screen.h)."""

    QUESTION = 0
    NAME = 1
    PROTOCOL = 2


class ScreenTotals(NamedTuple):
    """Packets and octets passed over, flows, look-ups and DNS messages among them; evicted flows and names."""

    packets: int = 0
    octets: int = 0
    flows: int = 0
    lookups: int = 0
    messages: int = 0
    evicted: int = 0
    names_evicted: int = 0

    @property
    def judged(self) -> int:
        """Return how many flows and look-ups nothing came of."""
        return self.flows + self.lookups


def is_always(_kind: int, _name: str) -> bool:
    """Say that every name is of interest."""
    return True


class Screen(ABC):
    """A screen for one source; until `ask` is set everything is handed out.

    `ask(Asked, name)` tells whether a name might be of interest; it is called from within a read. What cannot be judged
    for an error, of `ask` or of the screen, is handed out whole and counted in `faults`: it never ends a read.
    """

    def __init__(self) -> None:
        self.ask: Ask = is_always
        self.faults = Faults()

    def decide(self, kind: int, name: str) -> bool:
        """Tell whether `name` might be of interest."""
        try:
            return self.ask(kind, name)
        except Exception as error:  # noqa: BLE001 - a loop over packets: counted and said (`Faults`), it goes on
            self.faults.note(error, name.encode())
            return True

    @abstractmethod
    def occupy(self) -> None:
        """Take all of its memory now if it can: what is long-lived needs all of it in the end."""

    @abstractmethod
    def number(self, sources: Iterable[Source]) -> None:
        """Number the sources of what is held from now on; `sift` adds those that it meets."""

    @abstractmethod
    def sift(self, packets: list[Packet]) -> list[Packet]:
        """Return what is not held back of `packets`, behind what was held of the same flow."""

    @abstractmethod
    def advance(self, now_ns: int, *, is_end: bool = False) -> list[Packet]:
        """Return what waited for more packets until `now_ns`, or at the end all that something may still come of."""

    @abstractmethod
    def answers(self, client: bytes, address: bytes, now_ns: int) -> list[tuple[int, bytes]]:
        """Take out the DNS messages that led `client` to `address` by `now_ns`, with their times, the oldest first."""

    @abstractmethod
    def asked(self, client: bytes, name: str) -> tuple[int, int]:
        """Return when `client` last asked for `name`, to the millisecond, and since when it is watched; -1: never."""

    @abstractmethod
    def mark(self, client: bytes, address: bytes) -> None:
        """Hold nothing back of the flows between `client` and `address` from now on."""

    @abstractmethod
    def ask_again(self, names: Sequence[str] = ()) -> None:
        """Ask about each name again that is seen from now on, and besides about `names` and those below them."""

    @abstractmethod
    def follow(self, ends: Iterable[bytes], names: Sequence[str] | None = None) -> None:
        """Ask about each name again, also of those that led to an address before: there are other rules.

        Asked is about `names`, those below them, and questions that may carry data of a DNS tunnel; None: about every
        name. From now on flows to the addresses `ends`, 16 at most, are not held back of clients that an interesting
        name was seen of.
        """

    @abstractmethod
    def totals(self) -> ScreenTotals:
        """Return what was passed over in all."""
