"""Records of a classic pcap file (draft-ietf-opsawg-pcap).

Cost: about 0.8 us a record, most of it to make the `Packet`; measured by bench/pipeline.py.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from sensor.capture.offline.chunks import ChunkReader
from sensor.capture.offline.layout import Layout
from sensor.capture.offline.window import Window
from sensor.errors import MalformedCapture
from sensor.packet import Packet

MAX_RECORD_OCTETS = 262_144  # tcpdump's largest snap length
FILE_HEADER_OCTETS = 24


@dataclass(frozen=True, slots=True)
class PcapFormat:
    """What a file's magic says: byte order, nanoseconds in a unit of the fraction, octets of a record header."""

    byte_order: str
    fraction_ns: int
    record_header_octets: int


_FORMATS = {
    0xA1B2C3D4: (1000, 16),
    0xA1B23C4D: (1, 16),
    0xA1B2CD34: (1000, 24),  # Kuznetzov's patched libpcap: an interface index and more follow the usual header
}


def format_of(magic: bytes) -> PcapFormat | None:
    """Return the format that the first four octets of a file announce, or None if they are not pcap's."""
    for byte_order in "<>":
        known = _FORMATS.get(struct.unpack(f"{byte_order}I", magic)[0])
        if known is not None:
            return PcapFormat(byte_order, *known)
    return None


def link_type_of(head: bytes, file_format: PcapFormat) -> int:
    """Return the link type in a file's header; the upper half of the field tells the FCS length."""
    return int(struct.unpack_from(f"{file_format.byte_order}I", head, 20)[0]) & 0xFFFF


class PcapRecords:
    """The packets of a classic pcap file whose first octets are `head`; `truncated` once the last record was cut."""

    def __init__(self, chunks: ChunkReader, head: bytes, file_format: PcapFormat) -> None:
        self.truncated = False
        self.link_types = {link_type_of(head, file_format)}
        self._chunks = chunks
        self._head = head
        self._format = file_format

    def __iter__(self) -> Iterator[Packet]:
        """Yield each packet.

        Raises:
            MalformedCapture: a record larger than any snap length.
        """
        order, fraction_ns, header_octets = (
            self._format.byte_order,
            self._format.fraction_ns,
            self._format.record_header_octets,
        )
        link_type = link_type_of(self._head, self._format)
        read_header = struct.Struct(f"{order}IIII").unpack_from
        buffer, at, consumed = self._head, FILE_HEADER_OCTETS, 0
        while True:
            end = len(buffer)
            while (start := at + header_octets) <= end:
                seconds, fraction, captured, wire = read_header(buffer, at)
                if captured > MAX_RECORD_OCTETS:
                    raise MalformedCapture(consumed + at, f"a record of {captured} octets")
                stop = start + captured
                if stop > end:
                    break
                ts_ns = seconds * 1_000_000_000 + fraction * fraction_ns
                if wire < captured:  # noqa: PLR1730 - some writers leave it zero; max() would cost a tenth of this loop
                    wire = captured
                yield Packet(ts_ns, link_type, buffer[start:stop], wire)
                at = stop
            chunk = self._chunks.read()
            if not chunk:
                self.truncated = at < end
                return
            buffer, at, consumed = buffer[at:] + chunk, 0, consumed + at


class LaidPcap:
    """The records of a classic pcap file with Ethernet frames, for the walk; `window` begins with the file's header."""

    def __init__(self, window: Window, file_format: PcapFormat) -> None:
        self.window = window
        self.layout = Layout(
            file_format.record_header_octets,
            is_block=False,
            is_swapped=file_format.byte_order == ">",
            base=1_000_000_000 // file_format.fraction_ns,
            multiplier=file_format.fraction_ns,
        )
        self._read_captured = struct.Struct(f"{file_format.byte_order}8xI").unpack_from
        window.at += FILE_HEADER_OCTETS

    def go_on(self) -> bool:
        """As `sensor.capture.offline.layout.Laid`."""
        if self.window.has(self.layout.header_octets):
            (captured,) = self._read_captured(self.window.octets, self.window.at)
            if captured > MAX_RECORD_OCTETS:
                raise MalformedCapture(self.window.offset, f"a record of {captured} octets")
        return self.window.fill()
