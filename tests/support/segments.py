"""Plain TCP segments, some tagged, cut or damaged, in every flavour of pcap; and how they are read without haste."""

import random
import struct

from frames import ACK, CLIENT, FIN, RST, SERVER, SYN, S, tcp, udp

from sensor.capture.offline.pcap import PcapFormat, format_of
from sensor.capture.screening.plain_headers import Headers, read_headers
from sensor.packet import Packet

ENDS = [
    *((CLIENT, 40000, SERVER, 443), (SERVER, 443, CLIENT, 40000), (CLIENT, 40001, SERVER, 53)),
    *(("2001:db8::2", 40000, "2001:db8::1", 443), ("2001:db8::1", 443, "2001:db8::2", 40000)),
]
TCP = 6
IPV6_FIRST = tuple(bytes([octet]) for octet in range(0x60, 0x70))  # version, and half of the traffic class
Flavour = tuple[str, int, bytes]  # byte order, magic, what stands between a record's header and its frame
FLAVOURS: list[Flavour] = [
    (order, magic, extra)
    for order in "<>"
    for magic, extra in ((0xA1B2C3D4, b""), (0xA1B23C4D, b""), (0xA1B2CD34, bytes(8)))
]


def read_segment(row: Packet) -> tuple[bytes, int, int] | None:
    """Return key, flags and octets of payload of a segment, None of all else."""
    data = row.data
    rest = data[16:] if data[12:14] == b"\x81\x00" else data[12:]
    if rest[:3] == b"\x08\x00\x45" and len(rest) >= 36 and not int.from_bytes(rest[8:10]) & 0x3FFF:
        key, offset, flags, octets = rest[14:26], rest[34], rest[35], int.from_bytes(rest[4:6]) - 20
        return (key, flags, octets - (offset >> 4) * 4) if rest[11] == TCP else None
    if rest[:2] == b"\x86\xdd" and rest[2:3].startswith(IPV6_FIRST) and len(rest) >= 56 and rest[8] in {TCP, 17, 58}:
        key, offset, flags, octets = rest[10:46], rest[54], rest[55], int.from_bytes(rest[6:8])
        return (key, flags, octets - (offset >> 4) * 4) if rest[8] == TCP else None
    headers = read_headers(
        row
    )  # other layouts: tests/sensor/capture/test_screens_agree.py holds it to the compiled one
    if isinstance(headers, Headers) and headers.protocol == TCP:
        return headers.key, headers.flags, headers.octets
    return None


def made(chance: random.Random, ts_ns: int) -> Packet:
    """Return mostly bulk and acknowledgements; some tagged, cut by a snap length, or damaged."""
    ends = chance.choice(ENDS)
    flags = chance.choice((ACK,) * 40 + (SYN, FIN | ACK, RST))
    payload = bytes(chance.choice((0, 0, 1, 700, 1400, 1400)))
    row = tcp(ts_ns, ends, (1, 1, flags), payload) if chance.random() < 0.95 else udp(ts_ns, ends, payload)
    data = bytearray(row.data)
    if chance.random() < 0.3:
        data[12:12] = chance.choice((b"\x81\x00\x00\x07", b"\x88\xa8\x00\x07"))
    if chance.random() < 0.1:
        data[chance.randrange(12, min(60, len(data)))] = chance.choice((0, 1, 5, 6, 0x20, 0x45, 0x46, 0x60, 0x80))
    wire_octets = len(data)
    if chance.random() < 0.1:
        del data[chance.randrange(90) :]
    return Packet(ts_ns, row.link_type, bytes(data), wire_octets)


def written(packets: list[Packet], flavour: Flavour) -> tuple[bytes, PcapFormat]:
    """Return a file with `packets`, and its format."""
    order, magic, extra = flavour
    header = struct.pack(f"{order}IHHiIII", magic, 2, 4, 0, 0, 262144, 1)
    file_format = format_of(header[:4])
    assert file_format is not None
    content = bytearray(header)
    for row in packets:
        seconds, rest_ns = divmod(row.ts_ns, S)
        fields = (seconds, rest_ns // file_format.fraction_ns, len(row.data), row.wire_octets)
        content += struct.pack(f"{order}IIII", *fields) + extra + row.data
    return bytes(content), file_format
