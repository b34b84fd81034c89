"""Whose flows are not held back: of clients that an interesting name led there, or that were told what is not read.

As `marks` and `doubts` of screen.h.
"""

from collections.abc import Iterable
from typing import Final

from sensor.capture.screening.plain_dns import short_address
from sensor.capture.screening.plain_tables import first_quarter
from sensor.capture.screening.screen import MOST_ENDS

PAIRS: Final = 8_192
DOUBTS: Final = 8_192
DOUBT_NS: Final = 30_000_000_000  # until then the pipeline has read it, and marks what it says

_IPV4_OCTETS: Final = 4
_IPV6_OCTETS: Final = 16
_PORTS_OCTETS: Final = 4


class Suspects:
    """`marked`: addresses of both ends, in either order, between which nothing is held."""

    def __init__(self) -> None:
        self.marked: dict[bytes, None] = {}
        self._doubts: dict[bytes, int] = {}
        self._doubted_until_ns = self._all_until_ns = 0
        self._ends: list[bytes] = []

    def follow(self, ends: Iterable[bytes]) -> None:
        """As `Screen.follow`."""
        self._ends = [packed(end) for end in ends][:MOST_ENDS]

    def mark(self, client: bytes, address: bytes) -> None:
        """As `Screen.mark`, of packed addresses; no flow has ends of two kinds."""
        if len(client) != len(address):
            return
        marked, pair = self.marked, client + address
        if pair in marked:  # to the end: it is as good as new
            del marked[pair]
            marked.pop(address + client, None)
        elif len(marked) >= 2 * PAIRS:
            for old in first_quarter(marked):
                del marked[old]
        marked[pair] = marked[address + client] = None

    def note_interest(self, client: bytes) -> None:
        """Take note that an interesting name was seen of `client`."""
        for end in self._ends:
            self.mark(client, end)

    def doubt(self, client: bytes, now_ns: int) -> None:
        """Take note that `client` may just have been told what is not read here."""
        self._doubts.pop(client, None)  # to the end: it is as good as new
        if len(self._doubts) >= DOUBTS:
            for old in first_quarter(self._doubts):
                del self._doubts[old]
        self._doubts[client] = now_ns
        self._doubted_until_ns = now_ns + DOUBT_NS

    def doubt_all(self, now_ns: int) -> None:
        """Take note that some client, nobody knows which, may just have been told what is not read here."""
        self._doubted_until_ns = self._all_until_ns = now_ns + DOUBT_NS

    def is_suspect(self, key: bytes, now_ns: int) -> bool:
        """Tell whether an interesting name may have led one end of the flow `key` to the other."""
        return key[:-_PORTS_OCTETS] in self.marked or (
            now_ns < self._doubted_until_ns and self._is_doubted(key, now_ns)
        )

    def _is_doubted(self, key: bytes, now_ns: int) -> bool:
        if now_ns < self._all_until_ns:
            return True
        octets = (len(key) - _PORTS_OCTETS) >> 1
        since_ns = now_ns - DOUBT_NS
        ends = key[:octets], key[octets : 2 * octets]
        return any(self._doubts.get(end, since_ns) > since_ns for end in ends)


def packed(address: bytes) -> bytes:
    """Return a packed address as packets and tables here have it.

    Raises:
        ValueError: neither four nor sixteen octets.
    """
    if len(address) not in {_IPV4_OCTETS, _IPV6_OCTETS}:
        raise ValueError("no packed address")
    return short_address(address)
