"""Packets from a capture file: pcap, pcapng, either of them compressed with gzip, or standard input."""

from types import TracebackType
from typing import Self

from sensor.capture.offline.chunks import ChunkReader, open_chunks
from sensor.capture.offline.heads import IS_COMPILED, HeadRecords
from sensor.capture.offline.pcap import FILE_HEADER_OCTETS, LaidPcap, PcapRecords, format_of, link_type_of
from sensor.capture.offline.pcapng import SECTION_MAGIC, PcapngRecords
from sensor.capture.offline.pcapng_heads import PcapngHeads
from sensor.capture.offline.plain_heads import PlainHeads
from sensor.capture.offline.whole import WholeRecords
from sensor.capture.offline.window import Window
from sensor.capture.screening.compiled import CompiledScreen
from sensor.capture.screening.screen import Screen
from sensor.errors import CaptureError, MalformedCapture
from sensor.flows.flow import Count, Flow
from sensor.packet import LinkType, Packet

Records = WholeRecords | HeadRecords | PcapngHeads | PlainHeads


class CaptureFile:
    """A source of packets (docs/architecture.md); use it in a `with` statement or call `close`."""

    def __init__(self, chunks: ChunkReader, records: Records) -> None:
        self._chunks = chunks
        self._records = records

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
        """Return how many packets were only counted: of flows whose heads were handed out, or that nothing comes of."""
        return self._records.passed_over

    @property
    def unread_link_types(self) -> list[int]:
        """Return the link types that the file has shown so far and whose packets nothing here reads."""
        records = self._records
        return records.unread_link_types if isinstance(records, WholeRecords | PcapngHeads) else []

    @property
    def copies(self) -> int:
        """Return how many packets were left out, since another interface had shown them."""
        return self._records.copies if isinstance(self._records, WholeRecords | PcapngHeads) else 0

    @property
    def counts(self) -> list[tuple[int, Count]]:
        """Return what was counted of flows that ended within the last batch, with how many packets came before."""
        return self._records.counts

    @property
    def is_back(self) -> bool:
        """Tell whether the next packet begins all flows anew, so that what was counted of them is to be asked now."""
        return self._records.is_back

    @property
    def last_ns(self) -> int:
        """Return the time of the last packet that was taken from the file, handed out or not."""
        return self._records.last_ns

    def count_apart(self, flow: Flow) -> None:
        """Add to `flow` what was counted of it instead of being handed out."""
        self._records.count_apart(flow)

    def read(self, timeout_s: float = 0) -> list[Packet] | None:  # noqa: ARG002 - sources on interfaces wait
        """Return what passes of the next packets, some 512 at most, perhaps none; None at the end.

        Raises:
            MalformedCapture: the structure is damaged; everything before the damage was returned earlier.
            CaptureError: the device fails.
        """
        return self._records.read()

    def close(self) -> None:
        """Close the file."""
        self._chunks.close()


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
        return CaptureFile(chunks, _recognise(chunks, path, screen, heads_only=heads_only))
    except (CaptureError, MalformedCapture):
        chunks.close()
        raise


def _recognise(chunks: ChunkReader, path: str, screen: Screen | None, *, heads_only: bool) -> Records:
    head = b""
    while len(head) < FILE_HEADER_OCTETS and (chunk := chunks.read()):
        head += chunk
    if not head:
        raise CaptureError(f"{path} is empty; record it again, for example with tcpdump -w")
    is_compiled = heads_only and IS_COMPILED
    if head.startswith(SECTION_MAGIC):
        blocks = PcapngRecords(Window(chunks, head))
        if is_compiled and isinstance(screen, CompiledScreen | None):
            return PcapngHeads(blocks, screen)
        return WholeRecords(blocks, each_once=heads_only, screen=screen)
    file_format = format_of(head[:4]) if len(head) >= FILE_HEADER_OCTETS else None
    if file_format is None:
        raise CaptureError(f"{path} is not a pcap or pcapng file; convert it first, for example with editcap")
    if not heads_only or link_type_of(head, file_format) != LinkType.ETHERNET:
        return WholeRecords(PcapRecords(chunks, head, file_format), screen=screen)
    if is_compiled and isinstance(screen, CompiledScreen | None):
        return HeadRecords(LaidPcap(Window(chunks, head), file_format), screen)
    return PlainHeads(chunks, head, file_format, screen)
