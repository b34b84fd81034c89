"""Each packet of a file once, where several interfaces were recorded that carried the same ones; as live capture."""

from sensor.capture.copies import Copies
from sensor.capture.faults import Faults
from sensor.capture.merge import HOLD_NS, Merge
from sensor.packet import Packet


class EachOnce:
    """Puts packets of several interfaces in the order of time and leaves copies out; the file's times are the clock.

    Memory is that of `Merge` and `Copies`. Cost: some 4 us a packet.
    """

    def __init__(self, faults: Faults | None = None) -> None:
        self._merge = Merge()
        self._copies = Copies(faults=faults)
        self._newest_ns = 0

    def __len__(self) -> int:
        return len(self._merge)

    @property
    def copies(self) -> int:
        """Return how many packets were left out."""
        return self._copies.found

    def take(self, packets: list[Packet], at_most: int, *, is_end: bool) -> list[Packet]:
        """Return what is due of `packets` and of those that wait; with `is_end` all are, `at_most` at a time."""
        self._merge.add(packets)
        self._newest_ns = max(self._newest_ns, *(packet.ts_ns for packet in packets), 0)
        return self._copies.leave_out(self._merge.take(self._newest_ns + is_end * HOLD_NS, at_most))
