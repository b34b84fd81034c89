"""Packets from a capture file: pcap, pcapng, either of them compressed with gzip, or standard input."""

from itertools import islice
from types import TracebackType
from typing import Self

from sensor.capture.offline.chunks import ChunkReader, open_chunks
from sensor.capture.offline.each_once import EachOnce
from sensor.capture.offline.heads import IS_COMPILED, HeadRecords
from sensor.capture.offline.pcap import FILE_HEADER_OCTETS, PcapRecords, format_of, link_type_of
from sensor.capture.offline.pcapng import SECTION_MAGIC, PcapngRecords
from sensor.capture.offline.plain_heads import PlainHeads
from sensor.capture.screening.compiled import CompiledScreen
from sensor.capture.screening.screen import Screen
from sensor.decoding.link import SUPPORTED_LINK_TYPES
from sensor.errors import CaptureError, MalformedCapture
from sensor.flows.flow import Count, Flow
from sensor.packet import LinkType, Packet

BATCH_PACKETS = 512
_WHOLE = PcapRecords | PcapngRecords
Records = PcapRecords | PcapngRecords | HeadRecords | PlainHeads


class CaptureFile:
    """A source of packets (docs/architecture.md); use it in a `with` statement or call `close`.

    With `each_once`, what one interface of the file shows that another showed before is left out; `screen` holds back
    what nothing can come of, unless the records do so themselves.
    """

    def __init__(
        self, chunks: ChunkReader, records: Records, *, each_once: bool = False, screen: Screen | None = None
    ) -> None:
        self.last_ns = 0
        self._screen = screen if isinstance(records, _WHOLE) else None
        self._each_once = EachOnce() if each_once and isinstance(records, PcapngRecords) else None
        self._chunks = chunks
        self._records = records
        self._packets = iter(() if isinstance(records, HeadRecords | PlainHeads) else records)
        self._failure: MalformedCapture | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def progress(self) -> tuple[int, int] | None:
        """Return octets consumed and the size of the file, or None if it has no size (standard input from a pipe)."""
        return self._chunks.progress

    @property
    def truncated(self) -> bool:
        """Tell whether the file ended within a record (or its gzip stream within itself)."""
        return self._records.truncated or self._chunks.is_cut

    @property
    def passed_over(self) -> int:
        """Return how many packets were only counted: they are of flows whose heads have been handed out."""
        screened = self._screen.totals().packets if self._screen is not None else 0
        return screened + (self._records.passed_over if isinstance(self._records, HeadRecords | PlainHeads) else 0)

    @property
    def unread_link_types(self) -> list[int]:
        """Return the link types that the file has shown so far and whose packets nothing here reads."""
        records = self._records
        return sorted(records.link_types - SUPPORTED_LINK_TYPES) if isinstance(records, _WHOLE) else []

    @property
    def copies(self) -> int:
        """Return how many packets were left out, since another interface had shown them."""
        return self._each_once.copies if self._each_once is not None else 0

    @property
    def counts(self) -> list[tuple[int, Count]]:
        """Return what was counted of flows that ended within the last batch, with how many packets came before."""
        return self._records.counts if isinstance(self._records, HeadRecords | PlainHeads) else []

    @property
    def is_back(self) -> bool:
        """Tell whether the next packet begins all flows anew, so that what was counted of them is to be asked now."""
        return isinstance(self._records, HeadRecords | PlainHeads) and self._records.is_back

    def count_apart(self, flow: Flow) -> None:
        """Add to `flow` what was counted of it instead of being handed out."""
        if isinstance(self._records, HeadRecords | PlainHeads):
            self._records.count_apart(flow)

    def read(self, timeout_s: float = 0) -> list[Packet] | None:  # noqa: ARG002 - sources on interfaces wait
        """Return what passes of the next packets, at most `BATCH_PACKETS`, perhaps none; None at the end.

        `last_ns` is the time of the last one of them, passed or not.

        Raises:
            MalformedCapture: the structure is damaged; everything before the damage was returned earlier.
            CaptureError: the device fails.
        """
        if isinstance(self._records, HeadRecords | PlainHeads):
            heads = self._records.read()
            self.last_ns = self._records.last_ns
            return heads
        batch, is_end = self._next_batch()
        if self._each_once is not None and (self._has_several_interfaces() or self._each_once):
            batch = self._each_once.take(batch, BATCH_PACKETS, is_end=is_end)
            is_end = is_end and not batch and not self._each_once
        self.last_ns = batch[-1].ts_ns if batch else self.last_ns
        if self._screen is not None:
            is_end = is_end and not batch
            batch = self._screen.sift(batch) + self._screen.advance(self.last_ns, is_end=is_end)
        if batch or not is_end:
            return batch
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure
        return None

    def close(self) -> None:
        """Close the file."""
        self._chunks.close()

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


def open_capture(path: str, *, heads_only: bool = False, screen: Screen | None = None) -> CaptureFile:
    """Return the packets of the file at `path`; `-` is standard input.

    With `heads_only`, packets that say nothing new of their flow may be passed over (`heads`), and are where several
    interfaces of a pcapng file show the same ones (`each_once`). `screen` holds back what nothing can come of.

    Raises:
        CaptureError: it cannot be opened, or is not a capture.
        MalformedCapture: its gzip stream is damaged from the start.
    """
    chunks = open_chunks(path)
    try:
        records = _recognise(chunks, path, screen, heads_only=heads_only)
        return CaptureFile(chunks, records, each_once=heads_only, screen=screen)
    except (CaptureError, MalformedCapture):
        chunks.close()
        raise


def _recognise(chunks: ChunkReader, path: str, screen: Screen | None, *, heads_only: bool) -> Records:
    head = b""
    while len(head) < FILE_HEADER_OCTETS and (chunk := chunks.read()):
        head += chunk
    if not head:
        raise CaptureError(f"{path} is empty; record it again, for example with tcpdump -w")
    if head.startswith(SECTION_MAGIC):
        return PcapngRecords(chunks, head)
    file_format = format_of(head[:4]) if len(head) >= FILE_HEADER_OCTETS else None
    if file_format is None:
        raise CaptureError(f"{path} is not a pcap or pcapng file; convert it first, for example with editcap")
    if heads_only and link_type_of(head, file_format) == LinkType.ETHERNET:
        if IS_COMPILED and (screen is None or isinstance(screen, CompiledScreen)):
            return HeadRecords(chunks, head, file_format, screen)
        return PlainHeads(chunks, head, file_format, screen)
    return PcapRecords(chunks, head, file_format)
