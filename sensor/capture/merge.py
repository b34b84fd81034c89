"""Packets of several interfaces in the order of time.

A ring hands packets over up to 100 ms late, each interface's at its own time. They wait here for `HOLD_NS` after they
were captured, so that what came first is handed out first: of a packet that several interfaces show, the original.
Those of an interface that is current wait longer while another's lie unread, as long as there is room.
"""

from bisect import bisect_right
from operator import attrgetter

from sensor.packet import NEVER_NS, Packet

HOLD_NS = 120_000_000  # twice the time after which a ring's block is handed over, and some
MAX_WAITING = 8192
MAX_WAITING_OCTETS = 4 * 1024 * 1024

_in_time = attrgetter("ts_ns")


class Merge:
    """Packets that wait for earlier ones, at most `MAX_WAITING` with `MAX_WAITING_OCTETS`, and one batch.

    `hurried` counts those that did not wait as long as they should, for want of room.
    """

    def __init__(self) -> None:
        self.hurried = 0
        self._waiting: list[Packet] = []
        self._octets = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, packets: list[Packet]) -> None:
        """Put in packets in any order."""
        if packets:
            self._waiting += packets
            self._octets += sum(len(packet.data) for packet in packets)
            self._waiting.sort(key=_in_time)

    def take(self, now_ns: int, at_most: int, read_ns: int = NEVER_NS) -> list[Packet]:
        """Return what waited long enough by `now_ns`, the clock that stamps packets; `at_most`, unless too many wait.

        What is newer than `read_ns`, until when all interfaces were read, waits on. If the clock was set back, what it
        stamped before is not waited for.
        """
        ready = bisect_right(self._waiting, min(now_ns - HOLD_NS, read_ns), key=_in_time)
        due = max(min(ready, at_most), len(self._waiting) - MAX_WAITING, self._count_over())
        self.hurried += max(0, due - ready)
        if self._waiting and self._waiting[-1].ts_ns > now_ns + HOLD_NS:
            due = len(self._waiting)
        taken = self._waiting[:due]
        del self._waiting[:due]
        self._octets -= sum(len(packet.data) for packet in taken)
        return taken

    def wait_s(self, now_ns: int) -> float | None:
        """Return the seconds until `take` has something, None if nothing waits."""
        return max(0.0, (self._waiting[0].ts_ns + HOLD_NS - now_ns) / 1e9) if self._waiting else None

    def oldest_ns(self, default_ns: int) -> int:
        """Return the time of the first packet that waits, `default_ns` if none does."""
        return self._waiting[0].ts_ns if self._waiting else default_ns

    def _count_over(self) -> int:
        """Count the first packets that have to go for the rest to hold no more than `MAX_WAITING_OCTETS`."""
        over, octets = 0, self._octets
        while octets > MAX_WAITING_OCTETS:
            octets -= len(self._waiting[over].data)
            over += 1
        return over
