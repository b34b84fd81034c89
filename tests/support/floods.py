"""Floods for the tests of bounded tables: hostile traffic by the million, made from templates, with tunnels among it.

A flood yields packets; times advance by `STEP_NS` a packet. Names in `TUNNELS` are those that must be found.
"""

import random
import struct
from collections.abc import Iterable, Iterator
from itertools import count

from frames import ACK, PSH, SYN, S, dns_answer, dns_query, packed
from hellos import extension, hello_message, records, server_name, vector
from initials import crypto, initial

from sensor.packet import LinkType, Packet

STEP_NS = 10_000  # 100,000 packets a second
START_NS = 1_795_000_000 * S
TUNNEL = "connect.ngrok-agent.com"
LISTED = "ngrok-free.app"

_ETHERNET = bytes(12) + b"\x08\x00"
_ip = struct.Struct(">BBHHHBBH4s4s").pack
_tcp = struct.Struct(">HHIIBBHHH").pack
_udp = struct.Struct(">HHHH").pack
_SERVER, _RESOLVER = packed("198.51.100.7"), packed("192.0.2.53")
_ALPN = extension(16, vector(2, vector(1, b"h2") + vector(1, b"http/1.1")))

Ends = tuple[bytes, int, bytes, int]


class Clock:
    """Time that advances with each packet."""

    def __init__(self, step_ns: int = STEP_NS) -> None:
        self._ticks = count(START_NS, step_ns)

    def tcp(self, ends: Ends, seq: int, flags: int, payload: bytes = b"") -> Packet:
        """A segment of `ends`: source, its port, destination, its port."""
        src, src_port, dst, dst_port = ends
        header = _tcp(src_port, dst_port, seq & 0xFFFFFFFF, 1, 0x50, flags, 65535, 0, 0)
        return self._packet(6, src, dst, header + payload)

    def udp(self, ends: Ends, payload: bytes) -> Packet:
        """A datagram."""
        src, src_port, dst, dst_port = ends
        return self._packet(17, src, dst, _udp(src_port, dst_port, 8 + len(payload), 0) + payload)

    def _packet(self, protocol: int, src: bytes, dst: bytes, transport: bytes) -> Packet:
        data = _ETHERNET + _ip(0x45, 0, 20 + len(transport), 1, 0x4000, 64, protocol, 0, src, dst) + transport
        return Packet(next(self._ticks), LinkType.ETHERNET, data, len(data), "eth0")


def client(number: int) -> bytes:
    """An inside address for each number, one of 16 million."""
    return (0x0A000000 | (number & 0xFFFFFF)).to_bytes(4)


def hello(name: str) -> bytes:
    """A ClientHello of 517 octets or so, as most are."""
    offer = hello_message(server_name(name.encode()) + _ALPN + extension(21, bytes(380)))
    return records(offer)


def tunnel(clock: Clock, number: int, name: str = TUNNEL) -> Iterator[Packet]:
    """A tunnel that comes up: handshake, hello, answer."""
    ends = (client(number), 40_000, _SERVER, 443)
    back = (*ends[2:], *ends[:2])
    yield clock.tcp(ends, 1000, SYN)
    yield clock.tcp(back, 5000, SYN | ACK)
    yield clock.tcp(ends, 1001, PSH | ACK, hello(name))
    yield clock.tcp(back, 5001, PSH | ACK, b"\x16\x03\x03\x00\x40\x02" + bytes(63))


def syn_flood(clock: Clock, packets: int) -> Iterator[Packet]:
    """SYNs of spoofed addresses and random ports."""
    seeded = random.Random(1)
    for _ in range(packets):
        word = seeded.getrandbits(64)
        ends = (client(word), word >> 24 & 0xFFFF, _SERVER, 443)
        yield clock.tcp(ends, word >> 32, SYN)


def tunnels_around_a_syn_flood(clock: Clock, packets: int) -> Iterator[Packet]:
    """Three tunnels: one before a SYN flood, one that comes up in the course of it, one behind it."""
    yield from tunnel(clock, 0)
    handshake = tunnel(clock, 1)
    during = {packets * part // 5 for part in range(1, 5)}
    for number, packet in enumerate(syn_flood(clock, packets)):
        if number in during:
            yield next(handshake)
        yield packet
    yield from tunnel(clock, 2)


def flow_flood(clock: Clock, flows: int, tunnels: int, first: int = 0) -> Iterator[Packet]:
    """Flows that stay open, each with the head of something; every so often one is a tunnel."""
    every = flows // tunnels
    web, other = hello("www.example.com"), b"\xa5" * 300
    for number in range(first, first + flows):
        ends = (client(number), 1024 + number % 60_000, _SERVER, 443)
        yield clock.tcp(ends, number, SYN)
        if number % every == every - 1:
            yield clock.tcp(ends, number + 1, PSH | ACK, hello(TUNNEL))
        else:
            yield clock.tcp(ends, number + 1, PSH | ACK, web if number % 4 == 0 else other)


def dns_flood(clock: Clock, queries: int, domain: str = "example.com") -> Iterator[Packet]:
    """Queries of spoofed clients for names that were never asked before; half of them are answered, with aliases."""
    for number in range(queries):
        name = f"{number:x}.{'a' * 60}.{'b' * 60}.{domain}"
        ends = (client(number * 7919), 1024 + number % 60_000, _RESOLVER, 53)
        yield clock.udp(ends, dns_query(name, ident=number & 0xFFFF))
        if number % 2:
            answer = dns_answer(name, ["198.51.100.1", "198.51.100.2"], ident=number & 0xFFFF, aliases=[f"c{name}"])
            yield clock.udp((*ends[2:], *ends[:2]), answer)


def half_hellos(clock: Clock, flows: int, completed: int) -> Iterator[Packet]:
    """First segments of hellos that need two; then the second ones of the last `completed`."""
    whole = records(hello_message(extension(21, bytes(900)), server_name(TUNNEL.encode())))
    for number in range(flows):
        yield clock.tcp((client(number), 40_000, _SERVER, 443), 1000, PSH | ACK, whole[:900])
    for number in range(flows - completed, flows):
        yield clock.tcp((client(number), 40_000, _SERVER, 443), 1900, PSH | ACK, whole[900:])


def quic_flood(clock: Clock, flows: int) -> Iterator[Packet]:
    """Initials that never complete a hello, each on a flow of its own."""
    sparse = initial(crypto(16_000, bytes(300)))
    for number in range(flows):
        yield clock.udp((client(number), 40_000, _SERVER, 443), sparse)


def detection_flood(clock: Clock, queries: int) -> Iterator[Packet]:
    """Questions of spoofed clients, each a detection of its own: listed names that were never asked before."""
    return (
        clock.udp((client(number), 5353 + number % 50_000, _RESOLVER, 53), dns_query(f"{'x' * 50}{number}.{LISTED}"))
        for number in range(queries)
    )


def giants(clock: Clock, segments: int) -> Iterator[Packet]:
    """Offloaded segments as long as a ring passes them, of few flows."""
    return (
        clock.tcp((_SERVER, 443, client(number % 100), 40_000), 1 + number * 16_000, 0x10, bytes(16_000))
        for number in range(segments)
    )


def fragment_flood(clock: Clock, datagrams: int) -> Iterator[Packet]:
    """First fragments of datagrams that never become whole, and pieces of 8 octets that make each costly."""
    transport = bytes(1480)
    for number in range(datagrams):
        for offset, octets in ((0, 1480), (200, 8), (202, 8), (204, 8), (206, 8)):
            header = _ip(0x45, 0, 20 + octets, number & 0xFFFF, 0x2000 | offset, 64, 17, 0, client(number), _SERVER)
            data = _ETHERNET + header + transport[:octets]
            yield Packet(next(clock._ticks), LinkType.ETHERNET, data, len(data), "eth0")


def batches(packets: Iterable[Packet], size: int = 512) -> Iterator[list[Packet]]:
    """The packets in lists, as a source hands them out."""
    batch: list[Packet] = []
    for packet in packets:
        batch.append(packet)
        if len(batch) == size:
            yield batch
            batch = []
    yield batch
