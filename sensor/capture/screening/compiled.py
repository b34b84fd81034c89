"""The screen in compiled code (screen.h), before packets become objects of Python.

With one interface packets are held back where they lie in its ring or file; with several, `sift` does so once they
are in order and each is there once. Memory is 15 MiB once all is used, an operation takes constant time, some 0.5 us a
packet with taking it out of the ring (bench/steps.py).
"""

import contextlib
import mmap
import secrets
from collections.abc import Iterable, Sequence

from sensor.capture.screening.screen import MOST_ENDS, Ask, Screen, ScreenTotals, Source, is_always
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

MADV_POPULATE_WRITE = 23  # madvise(2), from Linux 5.14 on

Screening = tuple[mmap.mmap | None, Ask]  # as compiled code takes it

NOTHING_SCREENED: Screening = (None, is_always)


def as_sixteen(address: bytes) -> bytes:
    """Return a packed address as IPv6 has it (RFC 4291 section 2.5.5.2)."""
    return address if len(address) == 16 else bytes(10) + b"\xff\xff" + address  # noqa: PLR2004 - octets of IPv6


class CompiledScreen(Screen):
    """A screen whose tables are one buffer."""

    def __init__(self) -> None:
        super().__init__()
        self._sources: list[Source] = []
        self._numbers: dict[Source, int] = {}
        self._buffer = mmap.mmap(-1, size(), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        prepare(self._buffer, secrets.token_bytes(16))

    @property
    def parts(self) -> Screening:
        """Return it as compiled code takes it."""
        return self._buffer, self.decide

    def occupy(self) -> None:
        """Take all of its memory now, in huge pages where there are any.

        It is read here and there, each time in another page, and no packet waits for a page that was never used.
        """
        for advice in (mmap.MADV_HUGEPAGE, MADV_POPULATE_WRITE):
            with contextlib.suppress(OSError):  # an older kernel, or one without huge pages
                self._buffer.madvise(advice)

    def number(self, sources: Iterable[Source]) -> None:
        """As `Screen.number`."""
        self._sources = list(sources)
        self._numbers = {source: number for number, source in enumerate(self._sources)}

    def sift(self, packets: list[Packet]) -> list[Packet]:
        """As `Screen.sift`."""
        found: list[Packet] = []
        sift(self._buffer, packets, found, Packet, self._sources, self._numbers, self.decide)
        return found

    def advance(self, now_ns: int, *, is_end: bool = False) -> list[Packet]:
        """As `Screen.advance`."""
        packets: list[Packet] = []
        advance(self._buffer, now_ns, packets, Packet, self._sources, self.decide, is_end)
        return packets

    def answers(self, client: bytes, address: bytes, now_ns: int) -> list[tuple[int, bytes]]:
        """As `Screen.answers`."""
        rows: list[tuple[int, bytes]] = answers(self._buffer, client, address, now_ns)
        return rows

    def asked(self, client: bytes, name: str) -> tuple[int, int]:
        """As `Screen.asked`."""
        times: tuple[int, int] = asked(self._buffer, client, name)
        return times

    def mark(self, client: bytes, address: bytes) -> None:
        """As `Screen.mark`."""
        mark(self._buffer, client, address)

    def ask_again(self, names: Sequence[str] = ()) -> None:
        """As `Screen.ask_again`."""
        ask_again(self._buffer, names)

    def follow(self, ends: Iterable[bytes], names: Sequence[str] | None = None) -> None:
        """As `Screen.follow`."""
        follow(self._buffer, b"".join(map(as_sixteen, ends))[: 16 * MOST_ENDS], names)

    def totals(self) -> ScreenTotals:
        """As `Screen.totals`."""
        return ScreenTotals(*totals(self._buffer))
