"""Packets of a pcapng file (draft-ietf-opsawg-pcapng): several sections, interfaces and link types.

Blocks that carry no packet are skipped, however large. Interfaces of a section with the same name, or without one (two
files merged into one), have their number with it, `#1`. Cost: about 1.5 us an enhanced packet block.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

from sensor.capture.offline.layout import Layout
from sensor.capture.offline.pcap import MAX_RECORD_OCTETS
from sensor.capture.offline.window import Window
from sensor.errors import MalformedCapture
from sensor.packet import LinkType, Packet

SECTION_HEADER = 0x0A0D0D0A
SECTION_MAGIC = struct.pack(">I", SECTION_HEADER)  # a palindrome: the same in both byte orders

_BYTE_ORDER_MAGIC = b"\x1a\x2b\x3c\x4d"
_INTERFACE_DESCRIPTION = 1
_PACKET = 2  # obsolete, still found
_SIMPLE_PACKET = 3
_ENHANCED_PACKET = 6
_PACKET_BLOCKS = frozenset((_PACKET, _SIMPLE_PACKET, _ENHANCED_PACKET))
_ENHANCED_HEADER_OCTETS = 28
_MAX_BLOCK_OCTETS = MAX_RECORD_OCTETS + 65_536  # a packet and its options
_MAX_INTERFACES = 4096

_OPTION_END = 0
_OPTION_NAME = 2
_OPTION_TIME_RESOLUTION = 9
_OPTION_TIME_OFFSET = 14
_MAX_RESOLUTION_EXPONENT = 63
LATEST_NS = (1 << 63) - 1


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
        return min(max(ns, 0), LATEST_NS)

    def layout(self, order: str) -> Layout | None:
        """Return how enhanced packet blocks stand; None: 64 bits do not hold what their time is reckoned with."""
        ratio = Fraction(1_000_000_000, self.units_a_second)
        offset_ns = self.offset_s * 1_000_000_000
        if ratio.numerator * ratio.denominator >= 1 << 64 or abs(offset_ns) > LATEST_NS:
            return None
        return Layout(
            _ENHANCED_HEADER_OCTETS,
            is_block=True,
            is_swapped=order == ">",
            base=1 << 32,
            multiplier=ratio.numerator,
            divisor=ratio.denominator,
            offset_ns=offset_ns,
            interface=self.name,
        )


class PcapngRecords:
    """The packets of the pcapng file that `window` begins with; `truncated` once the last block was cut.

    The next packets are taken by iteration, or by the compiled walk (`Laid`) as long as the file
    shows a single interface, with Ethernet frames, whatever the number of its sections.
    """

    def __init__(self, window: Window) -> None:
        self.truncated = False
        self.last_ns = 0
        self.window = window
        self.layout: Layout | None = None
        self._order = "<"
        self._interfaces: list[_Interface] = []
        self._named: set[tuple[int, str]] = set()
        self._sources: set[tuple[int, str]] = set()

    @property
    def interfaces(self) -> int:
        """Return how many interfaces the section has described so far."""
        return len(self._interfaces)

    @property
    def link_types(self) -> set[int]:
        """Return the link types that the file has described so far."""
        return {link_type for link_type, _ in self._sources}

    def __iter__(self) -> Iterator[Packet]:
        """Yield each packet.

        Raises:
            MalformedCapture: a block whose length or content cannot be.
        """
        while (block := self._peek()) is not None:
            kind, length = block
            if kind not in _PACKET_BLOCKS:
                if not self._pass_other(kind, length):
                    break
                continue
            body = self._take_body(length)
            if body is None:
                break
            if kind == _ENHANCED_PACKET:
                yield self._enhanced_packet(body)
            elif kind == _SIMPLE_PACKET:
                yield self._simple_packet(body)
            else:
                yield self._obsolete_packet(body)
        self.truncated = self.truncated or self.window.has(1)

    def go_on(self) -> bool:
        """As `sensor.capture.offline.layout.Laid`; a packet that the walk does not take stays where it is."""
        block = self._peek()
        if block is None:
            return False
        kind, length = block
        if kind not in _PACKET_BLOCKS:
            return self._pass_other(kind, length)
        is_cut = length <= _MAX_BLOCK_OCTETS and not self.window.has(length)
        return is_cut and self.layout is not None and self.window.fill()

    def _peek(self) -> tuple[int, int] | None:
        """Return type and length of the next block, or None at the end."""
        window = self.window
        if not window.reach(12):
            return None
        if window.octets.startswith(SECTION_MAGIC, window.at):
            self._begin_section()
        kind, length = struct.unpack_from(f"{self._order}II", window.octets, window.at)
        if length < 12 or length % 4:  # noqa: PLR2004 - type and both lengths
            raise self._malformed(f"a block of {length} octets")
        return kind, length

    def _begin_section(self) -> None:
        magic = self.window.octets[self.window.at + 8 : self.window.at + 12]
        if magic not in (_BYTE_ORDER_MAGIC, _BYTE_ORDER_MAGIC[::-1]):
            raise self._malformed("a section header without its byte-order magic")
        self._order = ">" if magic == _BYTE_ORDER_MAGIC else "<"
        self._interfaces, self._named, self.layout = [], set(), None

    def _take_body(self, length: int) -> memoryview | None:
        """Return the body of the next block, until the window is filled again; None: it is cut short."""
        window = self.window
        if length > _MAX_BLOCK_OCTETS:
            raise self._malformed(f"a block of {length} octets")
        if not window.reach(length):
            return None
        body = window.view[window.at + 8 : window.at + length - 4]
        window.at += length
        return body

    def _pass_other(self, kind: int, length: int) -> bool:
        """Take a block without a packet, and what it describes; return whether it was there to its end."""
        if kind in (SECTION_HEADER, _INTERFACE_DESCRIPTION):
            body = self._take_body(length)
            if body is not None and kind == _INTERFACE_DESCRIPTION:
                self._describe_interface(body)
            return body is not None
        if not self.window.skip(length):
            self.truncated = True
        return not self.truncated

    def _describe_interface(self, body: memoryview) -> None:
        if len(body) < 8 or len(self._interfaces) == _MAX_INTERFACES:  # noqa: PLR2004 - link type to snap length
            raise self._malformed("an interface description that cannot be")
        link_type, snap_length = struct.unpack_from(f"{self._order}HxxI", body)
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
        self._sources.add((link_type, name))
        self._interfaces.append(_Interface(link_type, snap_length, name, units_a_second, offset_s))
        is_alone = len(self._interfaces) == 1 and self._sources == {(LinkType.ETHERNET, name)}
        self.layout = self._interfaces[0].layout(self._order) if is_alone else None

    def _options(self, body: memoryview, at: int) -> dict[int, bytes]:
        options: dict[int, bytes] = {}
        while at + 4 <= len(body):
            code, length = struct.unpack_from(f"{self._order}HH", body, at)
            if code == _OPTION_END:
                break
            options.setdefault(code, bytes(body[at + 4 : at + 4 + length]))
            at += 4 + (length + 3) // 4 * 4
        return options

    def _enhanced_packet(self, body: memoryview) -> Packet:
        if len(body) < 20:  # noqa: PLR2004 - the fields before the packet
            raise self._malformed("an enhanced packet block cut short")
        index, high, low, captured, wire = struct.unpack_from(f"{self._order}5I", body)
        return self._packet(index, high << 32 | low, bytes(body[20 : 20 + captured]), (captured, wire))

    def _obsolete_packet(self, body: memoryview) -> Packet:
        if len(body) < 20:  # noqa: PLR2004 - the fields before the packet
            raise self._malformed("a packet block cut short")
        index, high, low, captured, wire = struct.unpack_from(f"{self._order}Hxx4I", body)
        return self._packet(index, high << 32 | low, bytes(body[20 : 20 + captured]), (captured, wire))

    def _simple_packet(self, body: memoryview) -> Packet:
        """Return the packet with the time of the one before: this block has none."""
        if len(body) < 4:  # noqa: PLR2004 - the length on the wire
            raise self._malformed("a simple packet block cut short")
        wire = struct.unpack_from(f"{self._order}I", body)[0]
        interface = self._interface(0)
        captured = min(wire, interface.snap_length or wire)
        data = bytes(body[4 : 4 + captured])
        if len(data) < captured:
            raise self._malformed("a packet longer than its block")
        return Packet(self.last_ns, interface.link_type, data, wire, interface.name)

    def _packet(self, index: int, units: int, data: bytes, sizes: tuple[int, int]) -> Packet:
        captured, wire = sizes
        if len(data) < captured:
            raise self._malformed("a packet longer than its block")
        interface = self._interface(index)
        self.last_ns = interface.to_ns(units)
        return Packet(self.last_ns, interface.link_type, data, max(wire, captured), interface.name)

    def _interface(self, index: int) -> _Interface:
        if index >= len(self._interfaces):
            raise self._malformed(f"a packet of interface {index}, which was not described")
        return self._interfaces[index]

    def _malformed(self, reason: str) -> MalformedCapture:
        return MalformedCapture(self.window.offset, reason)
