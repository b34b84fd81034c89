"""Headers of frames that are not laid out as nearly all are: options, extension headers, more tags, PPPoE, raw IP.

As `bpf/packet.h` reads them for the compiled screen, so that both judge the same frames.
"""

import struct
from typing import Final, NamedTuple

from sensor.decoding.decode import Protocol
from sensor.decoding.link import ETHERTYPE_IPV4, ETHERTYPE_IPV6, find_network_layer
from sensor.errors import MalformedPacket, NeedMoreData
from sensor.packet import LinkType, Packet

_READ_TYPES: Final = frozenset((LinkType.ETHERNET, LinkType.RAW))
_EXTENSION_HEADERS: Final = frozenset(
    (Protocol.HOP_BY_HOP, Protocol.ROUTING, Protocol.FRAGMENT, Protocol.AUTHENTICATION, Protocol.DESTINATION_OPTIONS)
)
_MAX_EXTENSION_HEADERS: Final = 8
_IPV4_OCTETS: Final = 20
_IPV6_OCTETS: Final = 40
_TCP_OCTETS: Final = 20
_UDP_OCTETS: Final = 8
_EXTENSION_OCTETS: Final = 8

_read_ipv4: Final = struct.Struct(">BxHxxHxB2x4s4s").unpack_from
_read_ipv6: Final = struct.Struct(">BxxxHBx16s16s").unpack_from
_read_extension: Final = struct.Struct(">BBH").unpack_from
_read_tcp: Final = struct.Struct(">4sI4xBB").unpack_from
_read_udp: Final = struct.Struct(">4sH").unpack_from


class Headers(NamedTuple):
    """What the headers say: `key` as in `sensor.flows`; `octets` of payload, of which `payload` was captured.

    `seq` and `flags` are TCP's; of UDP `seq` is the length that its header has.
    """

    protocol: int
    key: bytes
    seq: int
    flags: int
    payload: bytes
    octets: int


class FragmentOf(NamedTuple):
    """A fragment that somebody sent to `dst`."""

    dst: bytes


def read_headers(packet: Packet) -> Headers | FragmentOf | None:
    """Return what the headers of `packet` say; None if that is neither TCP nor UDP, or damaged."""
    if packet.link_type not in _READ_TYPES:
        return None
    try:
        at, ethertype = find_network_layer(packet)
        if ethertype == ETHERTYPE_IPV4:
            return _read_after_ipv4(packet, at)
        return _read_after_ipv6(packet, at) if ethertype == ETHERTYPE_IPV6 else None
    except (NeedMoreData, MalformedPacket, struct.error):  # a header that is not all there
        return None


def _read_after_ipv4(packet: Packet, at: int) -> Headers | FragmentOf | None:
    first, total, fragment, protocol, src, dst = _read_ipv4(packet.data, at)
    octets = (first & 0x0F) * 4
    if first >> 4 != 4 or octets < _IPV4_OCTETS:  # noqa: PLR2004 - the version
        return None
    if fragment & 0x3FFF:
        return FragmentOf(dst)
    end = at + total if total else packet.wire_octets
    return _read_transport(packet, protocol, src + dst, at + octets, end)


def _read_after_ipv6(packet: Packet, at: int) -> Headers | FragmentOf | None:
    first, length, protocol, src, dst = _read_ipv6(packet.data, at)
    if first >> 4 != 6:  # noqa: PLR2004 - the version
        return None
    at += _IPV6_OCTETS
    end = at + length if length else packet.wire_octets
    for _ in range(_MAX_EXTENSION_HEADERS):
        if protocol not in _EXTENSION_HEADERS:
            break
        if at + _EXTENSION_OCTETS > min(end, len(packet.data)):
            return None
        following, length, word = _read_extension(packet.data, at)
        if protocol == Protocol.FRAGMENT and word & 0xFFF9:  # else atomic: RFC 6946
            return FragmentOf(dst)
        if protocol == Protocol.FRAGMENT:
            at += _EXTENSION_OCTETS
        else:
            at += (length + 2) * 4 if protocol == Protocol.AUTHENTICATION else (length + 1) * 8
        protocol = following
    return None if protocol in _EXTENSION_HEADERS else _read_transport(packet, protocol, src + dst, at, end)


def _read_transport(packet: Packet, protocol: int, ends: bytes, at: int, end: int) -> Headers | None:
    if not at <= end <= packet.wire_octets:
        return None
    if protocol == Protocol.TCP:
        return _read_segment(packet, ends, at, end)
    return _read_datagram(packet, ends, at, end) if protocol == Protocol.UDP else None


def _read_segment(packet: Packet, ends: bytes, at: int, end: int) -> Headers | None:
    if at + _TCP_OCTETS > min(end, len(packet.data)):
        return None
    ports, seq, offset, flags = _read_tcp(packet.data, at)
    body = at + (offset >> 4) * 4
    if not at + _TCP_OCTETS <= body <= end:
        return None
    return Headers(Protocol.TCP, ends + ports, seq, flags, packet.data[body:end], end - body)


def _read_datagram(packet: Packet, ends: bytes, at: int, end: int) -> Headers | None:
    if at + _UDP_OCTETS > min(end, len(packet.data)):
        return None
    ports, length = _read_udp(packet.data, at)
    if length and not _UDP_OCTETS <= length <= end - at:
        return None
    body = at + _UDP_OCTETS
    return Headers(Protocol.UDP, ends + ports, length, 0, packet.data[body:end], end - body)
