"""Packets as the octets of a pcapng file (draft-ietf-opsawg-pcapng), for the few packets of an event."""

import struct
from collections.abc import Sequence
from typing import NamedTuple

from sensor.packet import Packet

_SECTION_HEADER = 0x0A0D0D0A
_BYTE_ORDER_MAGIC = 0x1A2B3C4D
_INTERFACE_DESCRIPTION = 1
_ENHANCED_PACKET = 6
_OPTION_COMMENT = 1
_OPTION_NAME = 2
_OPTION_TIME_RESOLUTION = 9
_NANOSECONDS = b"\x09"
_UNKNOWN_LENGTH = -1


class Commented(NamedTuple):
    """A packet, and what a reader is told of it ("" for nothing)."""

    packet: Packet
    comment: str = ""


def write_pcapng(rows: Sequence[Commented]) -> bytes:
    """Return a file of one section: an interface for each link type and name, times in ns, original lengths."""
    interfaces: dict[tuple[int, str], int] = {}
    for packet, _ in rows:
        interfaces.setdefault((packet.link_type, packet.interface), len(interfaces))
    blocks = [_block(_SECTION_HEADER, struct.pack("<IHHq", _BYTE_ORDER_MAGIC, 1, 0, _UNKNOWN_LENGTH))]
    blocks += [_describe(link_type, name) for link_type, name in interfaces]
    blocks += [_packet(row, interfaces[row.packet.link_type, row.packet.interface]) for row in rows]
    return b"".join(blocks)


def _describe(link_type: int, name: str) -> bytes:
    options = _option(_OPTION_NAME, name.encode()) if name else b""
    return _block(
        _INTERFACE_DESCRIPTION,
        struct.pack("<HHI", link_type, 0, 0) + options + _option(_OPTION_TIME_RESOLUTION, _NANOSECONDS) + bytes(4),
    )


def _packet(row: Commented, interface: int) -> bytes:
    packet, comment = row
    sizes = len(packet.data), packet.wire_octets
    header = struct.pack("<5I", interface, packet.ts_ns >> 32, packet.ts_ns & 0xFFFFFFFF, *sizes)
    options = _option(_OPTION_COMMENT, comment.encode()) + bytes(4) if comment else b""
    return _block(_ENHANCED_PACKET, header + _padded(packet.data) + options)


def _option(code: int, value: bytes) -> bytes:
    return struct.pack("<HH", code, len(value)) + _padded(value)


def _block(kind: int, body: bytes) -> bytes:
    length = struct.pack("<I", len(body) + 12)
    return struct.pack("<I", kind) + length + body + length


def _padded(octets: bytes) -> bytes:
    """Return `octets` filled up with zeros to a multiple of 32 bits."""
    return octets + bytes(-len(octets) % 4)
