"""Packets as the octets of a pcapng file (draft-ietf-opsawg-pcapng), for the few packets of an event."""

import struct
from collections.abc import Sequence
from functools import lru_cache
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
_PACKET = struct.Struct("<7I")  # block type and length, interface, time (high, low), octets here and on the wire
_LENGTH = struct.Struct("<I")


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
    data, options = packet.data, _comment(comment)
    length = _PACKET.size + len(data) + (-len(data) % 4) + len(options) + 4
    times = packet.ts_ns >> 32, packet.ts_ns & 0xFFFFFFFF
    header = _PACKET.pack(_ENHANCED_PACKET, length, interface, *times, len(data), packet.wire_octets)
    return b"".join((header, data, bytes(-len(data) % 4), options, _LENGTH.pack(length)))


@lru_cache(maxsize=16)  # the packets of an event mostly have the same one
def _comment(comment: str) -> bytes:
    return _option(_OPTION_COMMENT, comment.encode()) + bytes(4) if comment else b""


def _option(code: int, value: bytes) -> bytes:
    return struct.pack("<HH", code, len(value)) + _padded(value)


def _block(kind: int, body: bytes) -> bytes:
    length = struct.pack("<I", len(body) + 12)
    return struct.pack("<I", kind) + length + body + length


def _padded(octets: bytes) -> bytes:
    """Return `octets` filled up with zeros to a multiple of 32 bits."""
    return octets + bytes(-len(octets) % 4)
