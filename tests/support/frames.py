"""Frames made by hand, and a conversation that keeps count of sequence numbers."""

import ipaddress
import struct
from collections.abc import Iterable

from rules.values.observation import Observation
from sensor.capture.offline.file import open_capture
from sensor.packet import LinkType, Packet
from sensor.pipeline import Limits, Pipeline

S = 1_000_000_000
MS = 1_000_000
FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16
CLIENT, SERVER, RESOLVER = "10.0.0.2", "192.0.2.10", "10.0.0.1"


def packed(address: str) -> bytes:
    return ipaddress.ip_address(address).packed


def frame(protocol: int, src: str, dst: str, transport: bytes) -> bytes:
    source, destination = packed(src), packed(dst)
    if len(source) == 16:
        header = struct.pack(">IHBB", 6 << 28, len(transport), protocol, 64) + source + destination
        return bytes(12) + b"\x86\xdd" + header + transport
    header = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(transport), 1, 0x4000, 64, protocol, 0) + source + destination
    return bytes(12) + b"\x08\x00" + header + transport


def packet(ts_ns: int, data: bytes, link_type: int = LinkType.ETHERNET) -> Packet:
    return Packet(ts_ns, link_type, data, len(data))


def tcp(ts_ns: int, ends: tuple[str, int, str, int], numbers: tuple[int, int, int], payload: bytes = b"") -> Packet:
    src, src_port, dst, dst_port = ends
    seq, ack, flags = numbers
    header = struct.pack(">HHIIBBHHH", src_port, dst_port, seq % 2**32, ack % 2**32, 0x50, flags, 65535, 0, 0)
    return packet(ts_ns, frame(6, src, dst, header + payload))


def udp(ts_ns: int, ends: tuple[str, int, str, int], payload: bytes) -> Packet:
    src, src_port, dst, dst_port = ends
    header = struct.pack(">HHHH", src_port, dst_port, 8 + len(payload), 0)
    return packet(ts_ns, frame(17, src, dst, header + payload))


class Conversation:
    """A TCP connection as packets, one millisecond apart."""

    def __init__(
        self, ends: tuple[str, int, str, int] = (CLIENT, 40000, SERVER, 443), *, start_ns: int = S, isn: int = 1000
    ) -> None:
        self.ends = ends
        self.now_ns = start_ns
        self.next_seq = {True: isn, False: isn + 500_000}

    def segment(self, flags: int, payload: bytes = b"", *, is_client: bool = True) -> Packet:
        src, src_port, dst, dst_port = self.ends
        ends = self.ends if is_client else (dst, dst_port, src, src_port)
        numbers = (self.next_seq[is_client], self.next_seq[not is_client], flags)
        made = tcp(self.now_ns, ends, numbers, payload)
        self.now_ns += MS
        self.next_seq[is_client] += len(payload) + bool(flags & SYN) + bool(flags & FIN)
        return made

    def open(self) -> list[Packet]:
        return [self.segment(SYN), self.segment(SYN | ACK, is_client=False), self.segment(ACK)]

    def send(self, payload: bytes, *, size: int = 1400) -> list[Packet]:
        return [self.segment(ACK | PSH, payload[at : at + size]) for at in range(0, len(payload), size)]

    def answer(self, payload: bytes, *, size: int = 1400) -> list[Packet]:
        return [
            self.segment(ACK | PSH, payload[at : at + size], is_client=False) for at in range(0, len(payload), size)
        ]


def dns_name(name: str) -> bytes:
    return b"".join(bytes([len(label)]) + label.encode() for label in name.split(".") if label) + b"\0"


def dns_query(name: str, *, ident: int = 7, qtype: int = 1) -> bytes:
    return struct.pack(">6H", ident, 0x0100, 1, 0, 0, 0) + dns_name(name) + struct.pack(">HH", qtype, 1)


def dns_answer(
    name: str,
    addresses: Iterable[str] = (),
    *,
    ident: int = 7,
    rcode: int = 0,
    aliases: Iterable[str] = (),
    ttl: int = 60,
) -> bytes:
    owner, records, qtype = name, b"", 1
    rows = 0
    for alias in aliases:
        target = dns_name(alias)
        records += dns_name(owner) + struct.pack(">HHIH", 5, 1, ttl, len(target)) + target
        owner = alias
        rows += 1
    for address in addresses:
        octets = packed(address)
        qtype = 1 if len(octets) == 4 else 28
        records += dns_name(owner) + struct.pack(">HHIH", qtype, 1, ttl, len(octets)) + octets
        rows += 1
    header = struct.pack(">6H", ident, 0x8180 | rcode, 1, rows, 0, 0)
    return header + dns_name(name) + struct.pack(">HH", qtype, 1) + records


def ask(ts_ns: int, name: str, *, ident: int = 7, port: int = 5000, qtype: int = 1) -> Packet:
    return udp(ts_ns, (CLIENT, port, RESOLVER, 53), dns_query(name, ident=ident, qtype=qtype))


def tell(ts_ns: int, message: bytes, *, port: int = 5000) -> Packet:
    return udp(ts_ns, (RESOLVER, 53, CLIENT, port), message)


def told(name: str, address: str = SERVER, *, at_ns: int = 0, ttl: int = 300) -> list[Packet]:
    return [ask(at_ns, name), tell(at_ns + MS, dns_answer(name, [address], ttl=ttl))]


def read_packets(path: str) -> list[Packet]:
    packets: list[Packet] = []
    with open_capture(path) as capture:
        while (batch := capture.read()) is not None:
            packets += batch
    return packets


def replay(packets: Iterable[Packet], limits: Limits | None = None) -> list[Observation]:
    pipeline = Pipeline(limits)
    return pipeline.feed_batch(packets) + pipeline.flush()


def last_revisions(observations: Iterable[Observation]) -> list[Observation]:
    return list({observation.key: observation for observation in observations}.values())
