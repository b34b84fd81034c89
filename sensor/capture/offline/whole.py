"""Every packet of a file, as batches; less those that another interface showed, and what a screen holds back."""

from itertools import islice

from sensor.capture.offline.each_once import EachOnce
from sensor.capture.offline.pcap import PcapRecords
from sensor.capture.offline.pcapng import PcapngRecords
from sensor.capture.screening.screen import Screen
from sensor.decoding.link import SUPPORTED_LINK_TYPES
from sensor.errors import MalformedCapture
from sensor.flows.flow import Count, Flow
from sensor.packet import Packet

BATCH_PACKETS = 512


class WholeRecords:
    """As `sensor.capture.offline.heads.HeadRecords`, which counts what here is handed out.

    With `each_once`, what one interface of a pcapng file shows that another showed before is left out and counted in
    `copies`; `screen` holds back what nothing can come of.
    """

    is_back = False

    def __init__(
        self, records: PcapRecords | PcapngRecords, *, each_once: bool = False, screen: Screen | None = None
    ) -> None:
        self.passed_over = 0
        self.last_ns = 0
        self.counts: list[tuple[int, Count]] = []
        self._records = records
        self._packets = iter(records)
        self._screen = screen
        faults = screen.faults if screen is not None else None
        self._each_once = EachOnce(faults) if each_once and isinstance(records, PcapngRecords) else None
        self._failure: MalformedCapture | None = None

    @property
    def truncated(self) -> bool:
        """Tell whether the file ended within a record."""
        return self._records.truncated

    @property
    def copies(self) -> int:
        """Return how many packets were left out, since another interface had shown them."""
        return self._each_once.copies if self._each_once is not None else 0

    @property
    def unread_link_types(self) -> list[int]:
        """Return the link types that the file has shown so far and whose packets nothing here reads."""
        return sorted(self._records.link_types - SUPPORTED_LINK_TYPES)

    def count_apart(self, flow: Flow) -> None:
        """Add nothing: every packet is handed out."""

    def read(self) -> list[Packet] | None:
        """Return what passes of the next 512 packets, or None at the end.

        Raises:
            MalformedCapture: the structure is damaged; everything before the damage was returned earlier.
            CaptureError: the device fails.
        """
        batch, is_end = self._next_batch()
        if self._each_once is not None and (self._has_several_interfaces() or self._each_once):
            batch = self._each_once.take(batch, BATCH_PACKETS, is_end=is_end)
            is_end = is_end and not batch and not self._each_once
        self.last_ns = batch[-1].ts_ns if batch else self.last_ns
        if self._screen is not None:
            taken, is_end = len(batch), is_end and not batch
            batch = self._screen.sift(batch) + self._screen.advance(self.last_ns, is_end=is_end)
            self.passed_over += taken - len(batch)
        if batch or not is_end:
            return batch
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure
        return None

    def _next_batch(self) -> tuple[list[Packet], bool]:
        """Return the next packets as the file has them, and whether there are no more; why not is kept."""
        batch: list[Packet] = []
        try:
            batch.extend(islice(self._packets, BATCH_PACKETS))
        except MalformedCapture as failure:
            self._failure = failure
        return batch, len(batch) < BATCH_PACKETS

    def _has_several_interfaces(self) -> bool:
        return isinstance(self._records, PcapngRecords) and self._records.interfaces > 1
