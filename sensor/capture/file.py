"""Packets from a capture file: pcap, pcapng, either of them compressed with gzip, or standard input."""

from itertools import islice
from types import TracebackType
from typing import Self

from sensor.capture.chunks import ChunkReader, open_chunks
from sensor.capture.pcap import FILE_HEADER_OCTETS, PcapRecords, format_of
from sensor.capture.pcapng import SECTION_MAGIC, PcapngRecords
from sensor.errors import CaptureError, MalformedCapture
from sensor.packet import Packet

BATCH_PACKETS = 512


class CaptureFile:
    """A source of packets (docs/architecture.md); use it in a `with` statement or call `close`."""

    def __init__(self, chunks: ChunkReader, records: PcapRecords | PcapngRecords) -> None:
        self._chunks = chunks
        self._records = records
        self._packets = iter(records)
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

    def read(self, timeout_s: float = 0) -> list[Packet] | None:  # noqa: ARG002 - sources on interfaces wait
        """Return the next packets, at most `BATCH_PACKETS`, or None at the end.

        Raises:
            MalformedCapture: the structure is damaged; everything before the damage was returned earlier.
            CaptureError: the device fails.
        """
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure
        batch: list[Packet] = []
        try:
            batch.extend(islice(self._packets, BATCH_PACKETS))
        except MalformedCapture as failure:
            if not batch:
                raise
            self._failure = failure
        return batch or None

    def close(self) -> None:
        """Close the file."""
        self._chunks.close()


def open_capture(path: str) -> CaptureFile:
    """Return the packets of the file at `path`; `-` is standard input.

    Raises:
        CaptureError: it cannot be opened, or is not a capture.
        MalformedCapture: its gzip stream is damaged from the start.
    """
    chunks = open_chunks(path)
    try:
        return CaptureFile(chunks, _recognise(chunks, path))
    except (CaptureError, MalformedCapture):
        chunks.close()
        raise


def _recognise(chunks: ChunkReader, path: str) -> PcapRecords | PcapngRecords:
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
    return PcapRecords(chunks, head, file_format)
