"""Frames with right lengths and checksums, and conversations that keep count of sequence numbers."""

import ipaddress
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

FIN, SYN, PSH, ACK = 1, 2, 8, 16
TCP, UDP = 6, 17
SEGMENT_OCTETS = 1440  # fits 1500 octets behind IPv6 and TCP
MACS = bytes.fromhex("020000000001020000000002")

Ends = tuple[bytes, int, bytes, int]


@dataclass(frozen=True, slots=True)
class Path:
    """Who talks to whom over what: client and server (packed addresses and ports), and the VLAN or None."""

    transport: int
    ends: Ends
    vlan: int | None = None

    def back(self) -> "Path":
        """Return the other direction."""
        return Path(self.transport, (*self.ends[2:], *self.ends[:2]), self.vlan)

    def row(self) -> dict[str, str | int]:
        """Return the five-tuple as the truth file has it."""
        src, src_port, dst, dst_port = self.ends
        return {
            "transport": "tcp" if self.transport == TCP else "udp",
            "src": str(ipaddress.ip_address(src)),
            "src_port": src_port,
            "dst": str(ipaddress.ip_address(dst)),
            "dst_port": dst_port,
        }


def ones_sum(octets: bytes) -> int:
    """Return the sum of the 16-bit words, not yet folded."""
    octets += bytes(len(octets) & 1)
    return sum(struct.unpack(f">{len(octets) // 2}H", octets))


def fold(total: int) -> int:
    """Return the Internet checksum of words that add up to `total` (RFC 1071)."""
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def link_and_ip(path: Path, octets: int) -> bytes:
    """Return everything before a transport layer of `octets`."""
    src, _, dst, _ = path.ends
    tag = b"" if path.vlan is None else struct.pack(">HH", 0x8100, path.vlan)
    if len(src) == 16:  # noqa: PLR2004 - IPv6
        header = struct.pack(">IHBB", 6 << 28, octets, path.transport, 64) + src + dst
        return MACS + tag + b"\x86\xdd" + header
    header = struct.pack(">BBHHHBBH", 0x45, 0, 20 + octets, 0, 0x4000, 64, path.transport, 0) + src + dst
    header = header[:10] + struct.pack(">H", fold(ones_sum(header))) + header[12:]
    return MACS + tag + b"\x08\x00" + header


def pseudo_sum(path: Path, octets: int) -> int:
    """Return what addresses, ports, protocol and length add to the checksum."""
    src, src_port, dst, dst_port = path.ends
    return ones_sum(src + dst) + path.transport + octets + src_port + dst_port


def segment(path: Path, seq: int, ack: int, flags: int, payload: bytes = b"") -> bytes:
    """Return a TCP segment's frame."""
    _, src_port, _, dst_port = path.ends
    options = b"\x02\x04\x05\xa0" if flags & SYN else b""
    octets = 20 + len(options) + len(payload)
    rest = struct.pack(">IIBBH", seq % 2**32, ack % 2**32, (5 + len(options) // 4) << 4, flags, 65535)
    checksum = fold(pseudo_sum(path, octets) + ones_sum(rest) + ones_sum(options) + ones_sum(payload))
    ports = struct.pack(">HH", src_port, dst_port)
    return link_and_ip(path, octets) + ports + rest + struct.pack(">HH", checksum, 0) + options + payload


def datagram(path: Path, payload: bytes) -> bytes:
    """Return a UDP datagram's frame."""
    _, src_port, _, dst_port = path.ends
    octets = 8 + len(payload)
    checksum = fold(pseudo_sum(path, octets) + octets + ones_sum(payload)) or 0xFFFF
    return link_and_ip(path, octets) + struct.pack(">HHHH", src_port, dst_port, octets, checksum) + payload


@dataclass(slots=True)
class Connection:
    """A TCP connection as frames."""

    path: Path
    sent: dict[bool, int] = field(default_factory=lambda: {True: 1000, False: 900_000})

    def frame(self, flags: int, payload: bytes = b"", *, is_client: bool = True) -> bytes:
        """Return the next frame of one side."""
        path = self.path if is_client else self.path.back()
        made = segment(path, self.sent[is_client], self.sent[not is_client] if flags & ACK else 0, flags, payload)
        self.sent[is_client] += len(payload) + bool(flags & SYN) + bool(flags & FIN)
        return made

    def open(self) -> Iterator[bytes]:
        """Yield the handshake."""
        yield self.frame(SYN)
        yield self.frame(SYN | ACK, is_client=False)
        yield self.frame(ACK)

    def send(self, payload: bytes, *, is_client: bool = True, is_swapped: bool = False) -> Iterator[bytes]:
        """Yield the segments of `payload` (the last one first if swapped) and its acknowledgement."""
        pieces = range(0, len(payload), SEGMENT_OCTETS)
        frames = [self.frame(ACK | PSH, payload[at : at + SEGMENT_OCTETS], is_client=is_client) for at in pieces]
        yield from reversed(frames) if is_swapped else frames
        yield self.frame(ACK, is_client=not is_client)

    def close(self) -> Iterator[bytes]:
        """Yield both sides' end."""
        yield self.frame(FIN | ACK)
        yield self.frame(FIN | ACK, is_client=False)
        yield self.frame(ACK)


class BulkFlow:
    """An open connection that moves `packets` packets of one payload, fast: two templates and a sum to update."""

    def __init__(self, connection: Connection, packets: int, payload: bytes, *, is_download: bool) -> None:
        self.connection = connection
        self.left = packets
        self._sender = not is_download
        path = connection.path if self._sender else connection.path.back()
        self._seq, self._ack = connection.sent[self._sender], connection.sent[not self._sender]
        self._payload = payload
        self._data = self._template(path, payload)
        self._reply = self._template(path.back(), b"")

    def burst(self, segments: int) -> Iterator[bytes]:
        """Yield `segments` data segments, an acknowledgement after every second one."""
        head, base = self._data
        seq, ack, step, payload = self._seq, self._ack, len(self._payload), self._payload
        for number in range(segments):
            yield head + _tail(base, seq, ack) + payload
            seq = (seq + step) % 2**32
            if number & 1:
                reply_head, reply_base = self._reply
                yield reply_head + _tail(reply_base, ack, seq)
        self.left -= segments + segments // 2
        self._seq = seq

    def close(self) -> Iterator[bytes]:
        """Yield the end of the connection."""
        self.connection.sent[self._sender] = self._seq
        return self.connection.close()

    @staticmethod
    def _template(path: Path, payload: bytes) -> tuple[bytes, int]:
        octets = 20 + len(payload)
        _, src_port, _, dst_port = path.ends
        head = link_and_ip(path, octets) + struct.pack(">HH", src_port, dst_port)
        return head, pseudo_sum(path, octets) + ones_sum(payload) + 0x5010 + 65535


_pack_tail = struct.Struct(">IIHHHH").pack


def _tail(base: int, seq: int, ack: int) -> bytes:
    total = base + (seq >> 16) + (seq & 0xFFFF) + (ack >> 16) + (ack & 0xFFFF)
    total = (total & 0xFFFF) + (total >> 16)
    total = (total & 0xFFFF) + (total >> 16)
    return _pack_tail(seq, ack, 0x5010, 65535, ~total & 0xFFFF, 0)
