"""What is held back of flow heads, in compiled code, because nothing can come of it (screen.h).

Nearly all look-ups and TLS connections go to names that no rule speaks of. The screen passes over them before they
become objects of Python; whatever else it hands out whole, so the pipeline sees of a flow all or nothing, and reports
what it would without a screen. Which names are of interest it asks `ask`, each once, but for those that end in nothing
that the rules speak of (`follow`), as nearly all do.

Names that led a client to an address are still needed for flows that carry none: `answers`, and `asked` for where a
name is from, say what was passed over (`sensor.names.correlate`).

With one interface packets are held back where they lie in its ring or file; with several, `sift` does so once they
are in order and each is there once. Memory is 15 MiB once all is used, an operation takes constant time, some 0.5 us a
packet with taking it out of the ring (bench/steps.py).
"""

import contextlib
import mmap
import secrets
from collections.abc import Callable, Iterable, Sequence
from enum import IntEnum
from typing import NamedTuple

from sensor.packet import Packet

try:
    from sensor.capture.compiled._screen import (
        advance,
        answers,
        ask_again,
        asked,
        follow,
        mark,
        prepare,
        sift,
        size,
        totals,
    )
except ImportError:  # there was no compiler
    IS_COMPILED = False
else:
    IS_COMPILED = True

MOST_ENDS = 16
MADV_POPULATE_WRITE = 23  # madvise(2), from Linux 5.14 on

Ask = Callable[[int, str], bool]
Source = tuple[int, str]  # link type and interface
Screening = tuple[mmap.mmap | None, Ask]  # as compiled code takes it


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


def as_sixteen(address: bytes) -> bytes:
    """Return a packed address as IPv6 has it (RFC 4291 section 2.5.5.2)."""
    return address if len(address) == 16 else bytes(10) + b"\xff\xff" + address  # noqa: PLR2004 - octets of IPv6


def is_always(_kind: int, _name: str) -> bool:
    """Say that every name is of interest."""
    return True


NOTHING_SCREENED: Screening = (None, is_always)


class Screen:
    """A screen for one source; until `ask` is set everything is handed out.

    `ask(Asked, name)` tells whether a name might be of interest; it is called from within a read. Where it raises an
    error, what carries the name is handed out.
    """

    def __init__(self) -> None:
        self.ask: Ask = is_always
        self._sources: list[Source] = []
        self._numbers: dict[Source, int] = {}
        self._buffer = mmap.mmap(-1, size(), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        prepare(self._buffer, secrets.token_bytes(16))

    @property
    def parts(self) -> Screening:
        """Return it as compiled code takes it."""
        return self._buffer, self._decide

    def _decide(self, kind: int, name: str) -> bool:
        return self.ask(kind, name)

    def occupy(self) -> None:
        """Take all of its memory now, in huge pages where there are any: what is long-lived needs all of it in the end.

        It is read here and there, each time in another page, and no packet waits for a page that was never used.
        """
        for advice in (mmap.MADV_HUGEPAGE, MADV_POPULATE_WRITE):
            with contextlib.suppress(OSError):  # an older kernel, or one without huge pages
                self._buffer.madvise(advice)

    def number(self, sources: Iterable[Source]) -> None:
        """Number the sources of what is held from now on; `sift` adds those that it meets."""
        self._sources = list(sources)
        self._numbers = {source: number for number, source in enumerate(self._sources)}

    def sift(self, packets: list[Packet]) -> list[Packet]:
        """Return what is not held back of `packets`, behind what was held of the same flow."""
        found: list[Packet] = []
        sift(self._buffer, packets, found, Packet, self._sources, self._numbers, self._decide)
        return found

    def advance(self, now_ns: int, *, is_end: bool = False) -> list[Packet]:
        """Return what waited for more packets until `now_ns`, or at the end all that something may still come of."""
        packets: list[Packet] = []
        advance(self._buffer, now_ns, packets, Packet, self._sources, self._decide, is_end)
        return packets

    def answers(self, client: bytes, address: bytes, now_ns: int) -> list[tuple[int, bytes]]:
        """Take out the DNS messages that led `client` to `address` by `now_ns`, with their times, the oldest first."""
        rows: list[tuple[int, bytes]] = answers(self._buffer, client, address, now_ns)
        return rows

    def asked(self, client: bytes, name: str) -> tuple[int, int]:
        """Return when `client` last asked for `name`, to the millisecond, and since when it is watched; -1: never."""
        times: tuple[int, int] = asked(self._buffer, client, name)
        return times

    def mark(self, client: bytes, address: bytes) -> None:
        """Hold nothing back of the flows between `client` and `address` from now on."""
        mark(self._buffer, client, address)

    def ask_again(self, names: Sequence[str] = ()) -> None:
        """Ask about each name again that is seen from now on, and besides about `names` and those below them."""
        ask_again(self._buffer, names)

    def follow(self, ends: Iterable[bytes], names: Sequence[str] | None = None) -> None:
        """Ask about each name again, also of those that led to an address before: there are other rules.

        Asked is about `names`, those below them, and questions that may carry data of a DNS tunnel; None: about every
        name. From now on flows to the addresses `ends`, 16 at most, are not held back of clients that an interesting
        name was seen of.
        """
        follow(self._buffer, b"".join(map(as_sixteen, ends))[: 16 * MOST_ENDS], names)

    def totals(self) -> ScreenTotals:
        """Return what was passed over in all."""
        return ScreenTotals(*totals(self._buffer))


def make_screen() -> Screen | None:
    """Return a screen, None where there was no compiler at install."""
    return Screen() if IS_COMPILED else None
