"""Flow heads of a pcapng file as long as it shows a single interface with Ethernet frames, as nearly all do; then all.

The walk (`heads`) takes enhanced packet blocks of the section's first interface, in either byte order and any
resolution of time that can tell the time of day, as far as their lengths and times are in bounds. Other blocks are read
between; sections may follow one another as long as their interface has the same name. The first packet that is laid out
otherwise, also a damaged one, and whatever follows are read block by block (`pcapng`).
"""

from sensor.capture.offline.heads import HeadRecords
from sensor.capture.offline.pcapng import PcapngRecords
from sensor.capture.offline.whole import WholeRecords
from sensor.capture.screening.compiled import CompiledScreen
from sensor.flows.flow import Count, Flow
from sensor.packet import Packet


class PcapngHeads:
    """As `sensor.capture.offline.heads.HeadRecords` until the walk is left, then as `WholeRecords` with `each_once`."""

    def __init__(self, records: PcapngRecords, screen: CompiledScreen | None = None) -> None:
        self.counts: list[tuple[int, Count]] = []
        self._records = records
        self._heads = HeadRecords(records, screen)
        self._whole = WholeRecords(records, each_once=True, screen=screen)
        self._has_left = False

    @property
    def is_back(self) -> bool:
        """Tell whether the next batch begins all flows anew."""
        return not self._has_left and self._heads.is_back

    @property
    def last_ns(self) -> int:
        """Return the time of the last packet of any kind."""
        return self._whole.last_ns if self._has_left else self._heads.last_ns

    @property
    def passed_over(self) -> int:
        """Return how many packets were not handed out; copies are not among them."""
        return self._heads.passed_over + self._whole.passed_over

    @property
    def truncated(self) -> bool:
        """Tell whether the file ended within a block."""
        return self._records.truncated

    @property
    def copies(self) -> int:
        """Return how many packets were left out, since another interface had shown them."""
        return self._whole.copies

    @property
    def unread_link_types(self) -> list[int]:
        """Return the link types that the file has shown so far and whose packets nothing here reads."""
        return self._whole.unread_link_types

    def count_apart(self, flow: Flow) -> None:
        """As `HeadRecords.count_apart`."""
        self._heads.count_apart(flow)

    def read(self) -> list[Packet] | None:
        """Return the next batch, perhaps none, or None at the end.

        Raises:
            MalformedCapture: a block whose length or content cannot be; everything before it was returned earlier.
            CaptureError: the device fails.
        """
        if self._has_left:
            self.counts = []
            return self._whole.read()
        heads = self._heads.read()
        self.counts = self._heads.counts
        if heads is not None:
            return heads
        self._leave()
        return self._whole.read() if self._records.window.is_exhausted else []

    def _leave(self) -> None:
        """Hand out what was counted until now, as its flows may begin anew; at the end of the file it can be asked."""
        self._whole.last_ns = self._records.last_ns = self._heads.last_ns
        self._has_left = True
        if not self._records.window.is_exhausted:
            self.counts = self._heads.take_counts()
