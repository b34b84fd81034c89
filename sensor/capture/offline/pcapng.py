"""Packets of a pcapng file (draft-ietf-opsawg-pcapng): several sections, interfaces and link types.

Blocks that carry no packet are skipped, however large. Interfaces of a section with the same name, or without one (two
files merged into one), have their number with it, `#1`. Cost: about 1.5 us an enhanced packet block.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from sensor.capture.offline.chunks import ChunkReader
from sensor.capture.offline.pcap import MAX_RECORD_OCTETS
from sensor.errors import MalformedCapture
from sensor.packet import Packet

SECTION_HEADER = 0x0A0D0D0A
SECTION_MAGIC = struct.pack(">I", SECTION_HEADER)  # a palindrome: the same in both byte orders

_BYTE_ORDER_MAGIC = b"\x1a\x2b\x3c\x4d"
_INTERFACE_DESCRIPTION = 1
_PACKET = 2  # obsolete, still found
_SIMPLE_PACKET = 3
_ENHANCED_PACKET = 6
_READ_BLOCKS = frozenset((SECTION_HEADER, _INTERFACE_DESCRIPTION, _PACKET, _SIMPLE_PACKET, _ENHANCED_PACKET))
_MAX_BLOCK_OCTETS = MAX_RECORD_OCTETS + 65_536  # a packet and its options
_MAX_INTERFACES = 4096

_OPTION_END = 0
_OPTION_NAME = 2
_OPTION_TIME_RESOLUTION = 9
_OPTION_TIME_OFFSET = 14
_MAX_RESOLUTION_EXPONENT = 63
_LATEST_NS = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class _Interface:
    link_type: int
    snap_length: int
    name: str = ""
    units_a_second: int = 1_000_000
    offset_s: int = 0

    def to_ns(self, units: int) -> int:
        """Return the time, or the nearest that 64 bits of nanoseconds hold (1970 to 2262)."""
        ns = self.offset_s * 1_000_000_000 + units * 1_000_000_000 // self.units_a_second
        return min(max(ns, 0), _LATEST_NS)


class PcapngRecords:
    """The packets of a pcapng file whose first octets are `head`; `truncated` once the last block was cut."""

    def __init__(self, chunks: ChunkReader, head: bytes) -> None:
        self.truncated = False
        self.link_types: set[int] = set()
        self._chunks = chunks
        self._buffer = head
        self._at = 0
        self._consumed = 0  # octets before the buffer
        self._order = "<"
        self._interfaces: list[_Interface] = []
        self._named: set[tuple[int, str]] = set()
        self._last_ns = 0

    @property
    def interfaces(self) -> int:
        """Return how many interfaces the section has described so far."""
        return len(self._interfaces)

    def __iter__(self) -> Iterator[Packet]:
        """Yield each packet.

        Raises:
            MalformedCapture: a block whose length or content cannot be.
        """
        while (block := self._next_block()) is not None:
            kind, body = block
            if kind == _ENHANCED_PACKET:
                yield self._enhanced_packet(body)
            elif kind == _SIMPLE_PACKET:
                yield self._simple_packet(body)
            elif kind == _PACKET:
                yield self._obsolete_packet(body)
            elif kind == _INTERFACE_DESCRIPTION:
                self._describe_interface(body)

    def _next_block(self) -> tuple[int, bytes] | None:
        """Return type and body of the next block that is read here, or None at the end."""
        while self._fill(12):
            if self._buffer.startswith(SECTION_MAGIC, self._at):
                self._begin_section()
            kind, length = struct.unpack_from(f"{self._order}II", self._buffer, self._at)
            if length < 12 or length % 4:  # noqa: PLR2004 - type and both lengths
                raise self._malformed(f"a block of {length} octets")
            if kind not in _READ_BLOCKS:
                self._skip(length)
                continue
            if length > _MAX_BLOCK_OCTETS:
                raise self._malformed(f"a block of {length} octets")
            if not self._fill(length):
                break
            body = self._buffer[self._at + 8 : self._at + length - 4]
            self._at += length
            return kind, body
        self.truncated = self.truncated or self._at < len(self._buffer)
        return None

    def _begin_section(self) -> None:
        magic = self._buffer[self._at + 8 : self._at + 12]
        if magic not in (_BYTE_ORDER_MAGIC, _BYTE_ORDER_MAGIC[::-1]):
            raise self._malformed("a section header without its byte-order magic")
        self._order = ">" if magic == _BYTE_ORDER_MAGIC else "<"
        self._interfaces, self._named = [], set()

    def _fill(self, octets: int) -> bool:
        """Return whether `octets` stand in the buffer from the current place on, after reading more if need be."""
        while len(self._buffer) - self._at < octets:
            chunk = self._chunks.read()
            if not chunk:
                return False
            self._consumed += self._at
            self._buffer, self._at = self._buffer[self._at :] + chunk, 0
        return True

    def _skip(self, octets: int) -> None:
        while octets > (held := len(self._buffer) - self._at):
            octets -= held
            self._consumed += len(self._buffer)
            self._buffer, self._at = self._chunks.read(), 0
            if not self._buffer:
                self.truncated = True
                return
        self._at += octets

    def _describe_interface(self, body: bytes) -> None:
        if len(body) < 8 or len(self._interfaces) == _MAX_INTERFACES:  # noqa: PLR2004 - link type to snap length
            raise self._malformed("an interface description that cannot be")
        link_type, snap_length = struct.unpack_from(f"{self._order}HxxI", body)
        self.link_types.add(link_type)
        options = self._options(body, 8)
        resolution = options.get(_OPTION_TIME_RESOLUTION, b"\x06")[:1] or b"\x06"
        exponent = min(resolution[0] & 0x7F, _MAX_RESOLUTION_EXPONENT)
        units_a_second = (2 if resolution[0] & 0x80 else 10) ** exponent
        offset = options.get(_OPTION_TIME_OFFSET, b"")
        offset_s = struct.unpack(f"{self._order}q", offset)[0] if len(offset) == 8 else 0  # noqa: PLR2004 - a 64-bit value
        name = options.get(_OPTION_NAME, b"").rstrip(b"\0").decode("utf-8", "replace")
        if (link_type, name) in self._named:
            name += f"#{len(self._interfaces)}"
        self._named.add((link_type, name))
        self._interfaces.append(_Interface(link_type, snap_length, name, units_a_second, offset_s))

    def _options(self, body: bytes, at: int) -> dict[int, bytes]:
        options: dict[int, bytes] = {}
        while at + 4 <= len(body):
            code, length = struct.unpack_from(f"{self._order}HH", body, at)
            if code == _OPTION_END:
                break
            options.setdefault(code, body[at + 4 : at + 4 + length])
            at += 4 + (length + 3) // 4 * 4
        return options

    def _enhanced_packet(self, body: bytes) -> Packet:
        if len(body) < 20:  # noqa: PLR2004 - the fields before the packet
            raise self._malformed("an enhanced packet block cut short")
        index, high, low, captured, wire = struct.unpack_from(f"{self._order}5I", body)
        return self._packet(index, high << 32 | low, body[20 : 20 + captured], (captured, wire))

    def _obsolete_packet(self, body: bytes) -> Packet:
        if len(body) < 20:  # noqa: PLR2004 - the fields before the packet
            raise self._malformed("a packet block cut short")
        index, high, low, captured, wire = struct.unpack_from(f"{self._order}Hxx4I", body)
        return self._packet(index, high << 32 | low, body[20 : 20 + captured], (captured, wire))

    def _simple_packet(self, body: bytes) -> Packet:
        """Return the packet with the time of the one before: this block has none."""
        if len(body) < 4:  # noqa: PLR2004 - the length on the wire
            raise self._malformed("a simple packet block cut short")
        wire = struct.unpack_from(f"{self._order}I", body)[0]
        interface = self._interface(0)
        captured = min(wire, interface.snap_length or wire)
        data = body[4 : 4 + captured]
        if len(data) < captured:
            raise self._malformed("a packet longer than its block")
        return Packet(self._last_ns, interface.link_type, data, wire, interface.name)

    def _packet(self, index: int, units: int, data: bytes, sizes: tuple[int, int]) -> Packet:
        captured, wire = sizes
        if len(data) < captured:
            raise self._malformed("a packet longer than its block")
        interface = self._interface(index)
        self._last_ns = interface.to_ns(units)
        return Packet(self._last_ns, interface.link_type, data, max(wire, captured), interface.name)

    def _interface(self, index: int) -> _Interface:
        if index >= len(self._interfaces):
            raise self._malformed(f"a packet of interface {index}, which was not described")
        return self._interfaces[index]

    def _malformed(self, reason: str) -> MalformedCapture:
        return MalformedCapture(self._consumed + self._at, reason)
