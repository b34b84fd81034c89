"""Blocks of a pcapng file (draft-ietf-opsawg-pcapng), of any kind and in either byte order."""

import struct
from collections.abc import Iterable

from sensor.packet import Packet

SECTION, INTERFACE, OBSOLETE, SIMPLE, ENHANCED = 0x0A0D0D0A, 1, 2, 3, 6
NAMES, STATISTICS, SECRETS, CUSTOM, UNKNOWN = 4, 5, 10, 0xBAD, 0x40000BAD


def block(kind: int, body: bytes, order: str = "<") -> bytes:
    body += bytes(-len(body) % 4)
    length = struct.pack(f"{order}I", len(body) + 12)
    return struct.pack(f"{order}I", kind) + length + body + length


def section(order: str = "<") -> bytes:
    return block(SECTION, struct.pack(f"{order}IHHq", 0x1A2B3C4D, 1, 0, -1), order)


def option(code: int, value: bytes, order: str = "<") -> bytes:
    return struct.pack(f"{order}HH", code, len(value)) + value + bytes(-len(value) % 4)


def interface(link_type: int = 1, options: bytes = b"", order: str = "<", snap: int = 0) -> bytes:
    return block(INTERFACE, struct.pack(f"{order}HHI", link_type, 0, snap) + options + bytes(4), order)


def described(
    name: str = "", order: str = "<", resolution: int = 9, link_type: int = 1, offset_s: int | None = None
) -> bytes:
    """An interface with a name, a resolution of its times and perhaps an offset."""
    options = option(2, name.encode(), order) if name else b""
    options += option(9, bytes((resolution,)), order)
    options += option(14, struct.pack(f"{order}q", offset_s), order) if offset_s is not None else b""
    return interface(link_type, options, order)


def enhanced(
    units: int, data: bytes, index: int = 0, order: str = "<", *, wire: int | None = None, has_options: bool = True
) -> bytes:
    sizes = len(data), len(data) + 9 if wire is None else wire
    head = struct.pack(f"{order}5I", index, units >> 32, units & 0xFFFFFFFF, *sizes)
    options = option(2, b"\0\0\0\1", order) if has_options else b""
    return block(ENHANCED, head + data + bytes(-len(data) % 4) + options, order)


def simple(row: Packet, order: str = "<") -> bytes:
    return block(SIMPLE, struct.pack(f"{order}I", row.wire_octets) + row.data, order)


def obsolete(row: Packet, index: int = 0, order: str = "<") -> bytes:
    times = row.ts_ns >> 32, row.ts_ns & 0xFFFFFFFF
    return block(
        OBSOLETE, struct.pack(f"{order}HH4I", index, 0, *times, len(row.data), row.wire_octets) + row.data, order
    )


def units_of(ts_ns: int, resolution: int) -> int:
    """A time in units of an interface's resolution (its option)."""
    in_second: int = (2 if resolution & 0x80 else 10) ** (resolution & 0x7F)
    return -(-ts_ns * in_second // 1_000_000_000)


def of_packets(
    rows: Iterable[Packet], index: int = 0, order: str = "<", resolution: int = 9, *, has_options: bool = False
) -> bytes:
    """An enhanced packet block of each."""
    return b"".join(
        enhanced(units_of(row.ts_ns, resolution), row.data, index, order, wire=row.wire_octets, has_options=has_options)
        for row in rows
    )
