"""A frame's transport layer: a TCP segment, a UDP datagram, a fragment of either, or news of an unreachable one.

Checksums are not verified: captures on a host show packets before the interface card fills them in. A packet cut by
the snap length gives as much payload as was captured.

Where there was a C compiler, `_heads.c` reads what nearly all frames are; whatever it does not know, or finds damaged,
is read here, and tests hold both to the same answers (`read_plain`).

Cost: about 2 us a TCP segment, a quarter of that where `_heads.c` reads it. The benchmark is bench/stages.py.
"""

import struct
from enum import IntEnum
from typing import Final

from rules.values.observation import FiveTuple, Transport
from rules.values.value import State, Value
from sensor.decoding.link import ETHERTYPE_IPV4, ETHERTYPE_IPV6, find_network_layer, require
from sensor.errors import MalformedPacket, NeedMoreData
from sensor.packet import LinkType, Packet

try:
    from sensor.capture.compiled._heads import read
except ImportError:  # there was no compiler
    read = None  # type: ignore[assignment]


class TcpFlag(IntEnum):
    """TCP control bits (RFC 9293 section 3.1); no IntFlag, whose operators cost a microsecond each."""

    FIN = 0x01
    SYN = 0x02
    RST = 0x04
    ACK = 0x10


class Protocol(IntEnum):
    """IP protocol numbers (the IANA registry)."""

    HOP_BY_HOP = 0
    ICMP = 1
    TCP = 6
    UDP = 17
    ROUTING = 43
    FRAGMENT = 44
    AUTHENTICATION = 51
    ICMPV6 = 58
    DESTINATION_OPTIONS = 60


class Segment:
    """One TCP segment; `payload` may be shorter than `wire_payload_octets` (snap length, or the head of fragments).

    `key` is source and destination address and both ports, as in `sensor.flows`. No `Value`: compiled code reads the
    attributes of a class of its own at a tenth of the cost.
    """

    __slots__ = ("ack", "flags", "key", "payload", "seq", "ts_ns", "wire_payload_octets")

    def __init__(  # noqa: PLR0917 - the fields of a value
        self, ts_ns: int, key: bytes, seq: int, ack: int, flags: int, payload: bytes, wire_payload_octets: int
    ) -> None:
        self.ts_ns = ts_ns
        self.key = key
        self.seq = seq
        self.ack = ack
        self.flags = flags
        self.payload = payload
        self.wire_payload_octets = wire_payload_octets

    @property
    def ends(self) -> tuple[bytes, int, bytes, int]:
        """Return address and port of the sender, then of the receiver."""
        octets = (len(self.key) - _PORTS_OCTETS) >> 1
        src_port, dst_port = _read_ports(self.key, 2 * octets)
        return self.key[:octets], src_port, self.key[octets : 2 * octets], dst_port


class Datagram:
    """One UDP datagram; `payload` may be shorter than `wire_payload_octets` (snap length, or the head of fragments)."""

    __slots__ = ("dst", "dst_port", "payload", "src", "src_port", "ts_ns", "wire_payload_octets")

    def __init__(  # noqa: PLR0917 - the fields of a value
        self, ts_ns: int, src: bytes, src_port: int, dst: bytes, dst_port: int, payload: bytes, wire_payload_octets: int
    ) -> None:
        self.ts_ns = ts_ns
        self.src = src
        self.src_port = src_port
        self.dst = dst
        self.dst_port = dst_port
        self.payload = payload
        self.wire_payload_octets = wire_payload_octets

    @property
    def ends(self) -> tuple[bytes, int, bytes, int]:
        """Return address and port of the sender, then of the receiver."""
        return self.src, self.src_port, self.dst, self.dst_port


class Unreachable(Value, frozen=True):
    """An ICMP message that a packet of `five_tuple`, from its sender's view, was not delivered."""

    ts_ns: int
    five_tuple: FiveTuple


class Fragment(Value, frozen=True):
    """A part of an IP datagram: `payload` lies `offset` octets into what follows the (unfragmentable) IP header."""

    ts_ns: int
    src: bytes
    dst: bytes
    protocol: int
    identification: int
    offset: int
    is_last: bool
    payload: bytes


Decoded = Segment | Datagram | Unreachable | Fragment

# As plain integers: comparing enumeration members costs a multiple.
_ETHERNET: Final = int(LinkType.ETHERNET)
_ICMP: Final = int(Protocol.ICMP)
_ICMPV6: Final = int(Protocol.ICMPV6)
_TCP: Final = int(Protocol.TCP)
_UDP: Final = int(Protocol.UDP)
_EXTENSION_HEADERS: Final = frozenset(
    (Protocol.HOP_BY_HOP, Protocol.ROUTING, Protocol.FRAGMENT, Protocol.AUTHENTICATION, Protocol.DESTINATION_OPTIONS)
)
_MAX_EXTENSION_HEADERS: Final = 8
_MAX_IP_OCTETS: Final = 65_535
_PORTS_OCTETS: Final = 4
_ICMP_UNREACHABLE: Final = 3  # RFC 792
_ICMP_FRAGMENTATION_NEEDED: Final = 4  # a code of it: the path MTU, not a refusal
_ICMPV6_UNREACHABLE: Final = 1  # RFC 4443 section 3.1

_read_tcp: Final = struct.Struct(">4xIIBB").unpack_from
_read_udp: Final = struct.Struct(">HHH").unpack_from
_read_ports: Final = struct.Struct(">HH").unpack_from
_read_ipv4: Final = struct.Struct(">BxHHHxB").unpack_from
_read_ipv6: Final = struct.Struct(">BxxxHB").unpack_from


class _Span(State):
    """Part of a packet: `start` to `end` were captured, `wire_end` is where the headers say that it ends."""

    src: bytes
    dst: bytes
    protocol: int
    start: int
    end: int
    wire_end: int


def read_plain(packet: Packet) -> Segment | Datagram | None:
    """Return what `decode` does, at a fraction of its cost; None where that is for `decode` to say."""
    if read is None or packet.link_type != _ETHERNET:
        return None
    plain = read(packet.data, packet.wire_octets)
    if plain is None:
        return None
    flags, key, first, second, payload, wire_payload_octets = plain
    if flags >= 0:
        return Segment(packet.ts_ns, key, first, second, flags, payload, wire_payload_octets)
    octets = (len(key) - _PORTS_OCTETS) >> 1
    return Datagram(packet.ts_ns, key[:octets], first, key[octets : 2 * octets], second, payload, wire_payload_octets)


def decode(packet: Packet) -> Decoded | None:
    """Return what `packet` carries, or None if that is not TCP, UDP or an ICMP unreachable message over IP.

    Raises:
        NeedMoreData: the snap length cut a header.
        MalformedPacket: a header that no valid sender produces.
    """
    offset, ethertype = find_network_layer(packet)
    if ethertype == ETHERTYPE_IPV4:
        return _decode_ipv4(packet, offset)
    if ethertype == ETHERTYPE_IPV6:
        return _decode_ipv6(packet, offset)
    return None


def decode_payload(first: Fragment, payload: bytes, *, is_whole: bool) -> Decoded | None:
    """Return what the reassembled `payload` of an IP datagram carries; `is_whole` is False for its head alone.

    Raises:
        NeedMoreData, MalformedPacket: as `decode`.
    """
    wire_octets = len(payload) if is_whole else len(payload) + 1
    packet = Packet(first.ts_ns, -1, payload, wire_octets)
    return _decode_transport(packet, _Span(first.src, first.dst, first.protocol, 0, len(payload), wire_octets))


def _decode_ipv4(packet: Packet, offset: int) -> Decoded | None:
    require(packet, offset + 20, "IPv4 header")
    data = packet.data
    version_ihl, total, identification, fragment, protocol = _read_ipv4(data, offset)
    header = (version_ihl & 0x0F) * 4
    if version_ihl >> 4 != 4 or header < 20:  # noqa: PLR2004 - IPv4, and its shortest header (RFC 791 section 3.1)
        raise MalformedPacket(offset, "not an IPv4 header")
    wire_end = offset + total if total else packet.wire_octets  # 0: segmentation is left to the interface card
    if wire_end < offset + header:
        raise MalformedPacket(offset + 2, "IPv4 total length below the header length")
    span = _Span(
        data[offset + 12 : offset + 16],
        data[offset + 16 : offset + 20],
        protocol,
        offset + header,
        _captured_end(packet, wire_end),
        wire_end,
    )
    if fragment & 0x3FFF:
        return _fragment(packet, span, identification, (fragment & 0x1FFF) * 8, is_last=not fragment & 0x2000)
    return _decode_transport(packet, span)


def _decode_ipv6(packet: Packet, offset: int) -> Decoded | None:
    require(packet, offset + 40, "IPv6 header")
    data = packet.data
    version, length, protocol = _read_ipv6(data, offset)
    if version >> 4 != 6:  # noqa: PLR2004 - the version
        raise MalformedPacket(offset, "not an IPv6 header")
    wire_end = offset + 40 + length if length else packet.wire_octets  # 0: a jumbogram (RFC 2675), or no payload
    span = _Span(
        data[offset + 8 : offset + 24],
        data[offset + 24 : offset + 40],
        protocol,
        offset + 40,
        _captured_end(packet, wire_end),
        wire_end,
    )
    if protocol not in _EXTENSION_HEADERS:
        return _decode_transport(packet, span)
    return _skip_extension_headers(packet, span)


def _skip_extension_headers(packet: Packet, span: _Span) -> Decoded | None:
    """Walk the headers between IPv6 and transport (RFC 8200 section 4, RFC 4302 section 2)."""
    for _ in range(_MAX_EXTENSION_HEADERS):
        if span.protocol not in _EXTENSION_HEADERS:
            break
        start = span.start
        _require_span(packet, span, 8, "IPv6 extension header")
        following, length = packet.data[start], packet.data[start + 1]
        if span.protocol == Protocol.FRAGMENT:
            word = int.from_bytes(packet.data[start + 2 : start + 4])
            span.protocol, span.start = following, start + 8
            if word & 0xFFF9:  # not an atomic fragment (RFC 6946)
                identification = int.from_bytes(packet.data[start + 4 : start + 8])
                return _fragment(packet, span, identification, word & 0xFFF8, is_last=not word & 1)
            continue
        is_authentication = span.protocol == Protocol.AUTHENTICATION
        octets = (length + 2) * 4 if is_authentication else (length + 1) * 8
        _require_span(packet, span, octets, "IPv6 extension header")
        span.protocol, span.start = following, start + octets
    if span.protocol in _EXTENSION_HEADERS:
        raise MalformedPacket(span.start, f"more than {_MAX_EXTENSION_HEADERS} IPv6 extension headers")
    return _decode_transport(packet, span)


def _captured_end(packet: Packet, wire_end: int) -> int:
    captured = len(packet.data)
    if wire_end > captured and packet.wire_octets <= captured:
        raise MalformedPacket(captured, "the IP length exceeds the frame")
    return min(wire_end, captured)


def _require_span(packet: Packet, span: _Span, octets: int, header: str) -> None:
    if span.start + octets > span.wire_end:
        raise MalformedPacket(span.start, f"{header} exceeds the IP length")
    require(packet, span.start + octets, header)


def _fragment(packet: Packet, span: _Span, identification: int, offset: int, *, is_last: bool) -> Fragment | None:
    """Return the fragment; None if the snap length cut it: a hole cannot be reassembled."""
    if span.end < span.wire_end and offset:
        return None
    octets = span.wire_end - span.start
    if not octets or offset + octets > _MAX_IP_OCTETS or (octets & 7 and not is_last):
        raise MalformedPacket(span.start, "not a fragment's size")
    return Fragment(
        packet.ts_ns,
        span.src,
        span.dst,
        span.protocol,
        identification,
        offset,
        is_last,
        packet.data[span.start : span.end],
    )


def _decode_transport(packet: Packet, span: _Span) -> Decoded | None:
    if span.protocol == _TCP:
        return _decode_tcp(packet, span)
    if span.protocol == _UDP:
        return _decode_udp(packet, span)
    if span.protocol in (_ICMP, _ICMPV6):
        return _decode_icmp(packet, span)
    return None


def _decode_tcp(packet: Packet, span: _Span) -> Segment:
    start = span.start
    _require_span(packet, span, 20, "TCP header")
    seq, ack, data_offset, flags = _read_tcp(packet.data, start)
    payload_start = start + (data_offset >> 4) * 4
    if payload_start < start + 20 or payload_start > span.wire_end:
        raise MalformedPacket(start + 12, "TCP data offset outside the segment")
    return Segment(
        packet.ts_ns,
        span.src + span.dst + packet.data[start : start + _PORTS_OCTETS],
        seq,
        ack,
        flags,
        packet.data[payload_start : span.end],
        span.wire_end - payload_start,
    )


def _decode_udp(packet: Packet, span: _Span) -> Datagram:
    start = span.start
    _require_span(packet, span, 8, "UDP header")
    src_port, dst_port, length = _read_udp(packet.data, start)
    wire_end = start + length if length else span.wire_end  # 0: a jumbogram (RFC 2675 section 4)
    if wire_end < start + 8 or (wire_end > span.wire_end and span.end == span.wire_end):
        raise MalformedPacket(start + 4, "UDP length outside the datagram")
    end = min(wire_end, span.end)
    payload = packet.data[start + 8 : end]
    return Datagram(packet.ts_ns, span.src, src_port, span.dst, dst_port, payload, wire_end - start - 8)


def _decode_icmp(packet: Packet, span: _Span) -> Unreachable | None:
    """Return what an unreachable message quotes (RFC 792, RFC 4443 section 3.1): a header and the ports."""
    _require_span(packet, span, 8, "ICMP header")
    kind, code = packet.data[span.start], packet.data[span.start + 1]
    quoted = packet.data[span.start + 8 : span.end]
    if span.protocol == _ICMPV6:
        return _quoted_ipv6(packet, quoted) if kind == _ICMPV6_UNREACHABLE else None
    if kind != _ICMP_UNREACHABLE or code == _ICMP_FRAGMENTATION_NEEDED:
        return None
    return _quoted_ipv4(packet, quoted)


def _quoted_ipv4(packet: Packet, quoted: bytes) -> Unreachable | None:
    header = (quoted[0] & 0x0F) * 4 if quoted else 0
    if len(quoted) < header + 4 or header < 20:  # noqa: PLR2004 - the shortest IPv4 header
        raise NeedMoreData("ICMP quotes less than the ports")
    if int.from_bytes(quoted[6:8]) & 0x1FFF:
        return None
    return _unreachable(packet, quoted[9], (quoted[12:16], quoted[16:20]), quoted[header:])


def _quoted_ipv6(packet: Packet, quoted: bytes) -> Unreachable | None:
    if len(quoted) < 44:  # noqa: PLR2004 - an IPv6 header and the ports
        raise NeedMoreData("ICMPv6 quotes less than the ports")
    return _unreachable(packet, quoted[6], (quoted[8:24], quoted[24:40]), quoted[40:])


def _unreachable(packet: Packet, protocol: int, ends: tuple[bytes, bytes], transport: bytes) -> Unreachable | None:
    if protocol not in (_TCP, _UDP):
        return None
    src_port, dst_port = _read_ports(transport, 0)
    kind = Transport.TCP if protocol == _TCP else Transport.UDP
    return Unreachable(packet.ts_ns, FiveTuple(kind, ends[0], src_port, ends[1], dst_port))
