from collections.abc import Callable
from functools import reduce
from operator import truediv

import pytest
from frames import CLIENT, SERVER, packed
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption_NOP
from scapy.layers.inet6 import (
    ICMPv6DestUnreach,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
)
from scapy.layers.ipsec import AH
from scapy.layers.l2 import ARP, CookedLinux, CookedLinuxV2, Dot1AD, Dot1Q, Ether, Loopback
from scapy.layers.ppp import PPP, PPPoE
from scapy.packet import Packet as ScapyPacket
from scapy.packet import Raw

from rules.values.observation import Transport
from sensor.decode import Datagram, Decoded, Fragment, Segment, Unreachable, decode
from sensor.errors import MalformedPacket, NeedMoreData
from sensor.link import SUPPORTED_LINK_TYPES
from sensor.packet import LinkType, Packet

MAC = "02:00:00:00:00:01"  # without one scapy would ask the network
ETHER = Ether(dst=MAC, src=MAC)
V4 = IP(src=CLIENT, dst=SERVER)
V6 = IPv6(src="2001:db8::2", dst="2001:db8::10")
QUERY = UDP(sport=40000, dport=53) / Raw(b"question")
DATA = TCP(sport=40001, dport=443, seq=2**32 - 5, ack=9, flags="PA") / Raw(b"payload")


def captured(frame: ScapyPacket | bytes, link_type: int = LinkType.ETHERNET) -> Packet:
    data = bytes(frame)
    return Packet(1, link_type, data, len(data))


def decoded(frame: ScapyPacket | bytes, link_type: int = LinkType.ETHERNET) -> Decoded | None:
    return decode(captured(frame, link_type))


def is_data(found: Decoded | None) -> bool:
    return isinstance(found, Segment) and (found.ends[1::2], found.payload) == ((40001, 443), b"payload")


def test_a_segment() -> None:
    found = decoded(ETHER / V4 / DATA)
    assert isinstance(found, Segment)
    assert found.ends == (packed(CLIENT), 40001, packed(SERVER), 443)
    assert (found.ts_ns, found.seq, found.ack, found.flags) == (1, 2**32 - 5, 9, 0x18)
    assert (found.payload, found.wire_payload_octets) == (b"payload", 7)


def test_a_datagram() -> None:
    found = decoded(ETHER / V6 / QUERY)
    assert isinstance(found, Datagram)
    assert found.ends == (packed("2001:db8::2"), 40000, packed("2001:db8::10"), 53)
    assert (found.ts_ns, found.payload, found.wire_payload_octets) == (1, b"question", 8)


@pytest.mark.parametrize(
    ("frame", "link_type"),
    [
        (ETHER / Dot1Q(vlan=5) / V4 / DATA, LinkType.ETHERNET),
        (
            Ether(dst=MAC, src=MAC, type=0x88A8) / Dot1AD(vlan=5, type=0x8100) / Dot1Q(vlan=6) / V4 / DATA,
            LinkType.ETHERNET,
        ),
        (
            Ether(dst=MAC, src=MAC, type=0x9100)
            / Dot1Q(vlan=5)
            / Dot1Q(vlan=6)
            / Dot1Q(vlan=7)
            / Dot1Q(vlan=8)
            / V6
            / DATA,
            1,
        ),
        (ETHER / PPPoE(sessionid=1) / PPP() / V4 / DATA, LinkType.ETHERNET),
        (ETHER / PPPoE(sessionid=1) / PPP() / V6 / DATA, LinkType.ETHERNET),
        (CookedLinux(src=bytes(6)) / V4 / DATA, LinkType.LINUX_SLL),
        (CookedLinux(src=bytes(6)) / Dot1Q(vlan=3) / V6 / DATA, LinkType.LINUX_SLL),
        (CookedLinuxV2() / V4 / DATA, LinkType.LINUX_SLL2),
        (Loopback(type=2) / V4 / DATA, LinkType.NULL),
        (b"\0\0\0\x02" + bytes(V4 / DATA), LinkType.LOOP),
        (b"\x1e\0\0\0" + bytes(V6 / DATA), LinkType.NULL),
        (V4 / DATA, LinkType.RAW),
        (V6 / DATA, LinkType.RAW),
        (V4 / DATA, LinkType.RAW_BSD),
        (V4 / DATA, LinkType.IPV4),
        (V6 / DATA, LinkType.IPV6),
    ],
)
def test_link_layers(frame: ScapyPacket | bytes, link_type: int) -> None:
    assert link_type in SUPPORTED_LINK_TYPES
    assert is_data(decoded(frame, link_type))


@pytest.mark.parametrize(
    "network",
    [
        IP(src=CLIENT, dst=SERVER, options=[IPOption_NOP()] * 4),
        V6 / IPv6ExtHdrHopByHop(),
        V6 / IPv6ExtHdrHopByHop() / IPv6ExtHdrRouting() / IPv6ExtHdrDestOpt(),
        reduce(truediv, [IPv6ExtHdrDestOpt()] * 8, V6),
        V6 / IPv6ExtHdrFragment(offset=0, m=0, id=9),
        V6 / AH(nh=6, payloadlen=4, spi=1, seq=1, icv=bytes(12)),
    ],
)
def test_options_and_extension_headers(network: ScapyPacket) -> None:
    assert is_data(decoded(ETHER / network / DATA))


@pytest.mark.parametrize(("headers", "is_read"), [(8, True), (9, False)])
def test_eight_extension_headers_are_read_and_no_more(headers: int, is_read: bool) -> None:
    network = V6
    for _ in range(headers):
        network = network / IPv6ExtHdrDestOpt()
    if is_read:
        assert is_data(decoded(ETHER / network / DATA))
    else:
        with pytest.raises(MalformedPacket, match="more than 8"):
            decoded(ETHER / network / DATA)


def test_padding_goes() -> None:
    found = decoded(bytes(ETHER / V4 / UDP(sport=1, dport=2) / Raw(b"x")) + bytes(17))
    assert isinstance(found, Datagram)
    assert found.payload == b"x"


def test_no_length_means_that_the_interface_card_cuts_it() -> None:
    found = decoded(ETHER / IP(src=CLIENT, dst=SERVER, len=0) / DATA)
    assert is_data(found)
    jumbo = bytearray(bytes(ETHER / V6 / DATA))
    jumbo[18:20] = bytes(2)
    assert is_data(decoded(bytes(jumbo)))


def test_a_fragment() -> None:
    found = decoded(ETHER / IP(src=CLIENT, dst=SERVER, flags="MF", frag=3, id=77, proto=17) / Raw(bytes(16)))
    assert found == Fragment(1, packed(CLIENT), packed(SERVER), 17, 77, 24, False, bytes(16))
    found = decoded(ETHER / V6 / IPv6ExtHdrFragment(offset=2, m=0, id=2**31, nh=6) / Raw(bytes(5)))
    assert found == Fragment(1, packed("2001:db8::2"), packed("2001:db8::10"), 6, 2**31, 16, True, bytes(5))


@pytest.mark.parametrize(("code", "is_refusal"), [(1, True), (3, True), (13, True), (4, False)])
def test_an_unreachable_destination(code: int, is_refusal: bool) -> None:
    found = decoded(ETHER / IP(src=SERVER, dst=CLIENT) / ICMP(type=3, code=code) / V4 / DATA)
    assert isinstance(found, Unreachable) is is_refusal
    if isinstance(found, Unreachable):
        ends = found.five_tuple
        assert (ends.transport, ends.src, ends.src_port) == (Transport.TCP, packed(CLIENT), 40001)
        assert (ends.dst, ends.dst_port) == (packed(SERVER), 443)


def test_an_unreachable_destination_over_ipv6() -> None:
    found = decoded(ETHER / IPv6(src="2001:db8::1", dst="2001:db8::2") / ICMPv6DestUnreach(code=1) / V6 / QUERY)
    assert isinstance(found, Unreachable)
    assert (found.five_tuple.transport, found.five_tuple.dst_port) == (Transport.UDP, 53)


@pytest.mark.parametrize(
    ("frame", "link_type"),
    [
        (ETHER / ARP(hwsrc=MAC, psrc=CLIENT), LinkType.ETHERNET),
        (ETHER / V4 / ICMP(), LinkType.ETHERNET),
        (ETHER / IP(src=CLIENT, dst=SERVER, proto=47) / Raw(bytes(40)), LinkType.ETHERNET),
        (Ether(dst=MAC, src=MAC, type=100) / Raw(bytes(100)), LinkType.ETHERNET),
        (b"\0\0\0\x07" + bytes(40), LinkType.NULL),
        (b"\x90" + bytes(40), LinkType.RAW),
        (bytes(40), 9999),
        (ETHER / IP(src=SERVER, dst=CLIENT) / ICMP(type=3, code=1) / V4 / ICMP(), LinkType.ETHERNET),
    ],
)
def test_what_is_not_read(frame: ScapyPacket | bytes, link_type: int) -> None:
    assert decoded(frame, link_type) is None


@pytest.mark.parametrize("frame", [ETHER / V4 / DATA, ETHER / Dot1Q() / V6 / IPv6ExtHdrHopByHop() / QUERY])
def test_a_frame_cut_by_the_snap_length_is_no_error(frame: ScapyPacket) -> None:
    whole = bytes(frame)
    for octets in range(len(whole)):
        try:
            found = decode(Packet(1, LinkType.ETHERNET, whole[:octets], len(whole)))
        except NeedMoreData:
            continue
        assert isinstance(found, Segment | Datagram)
        assert found.wire_payload_octets > len(found.payload)


@pytest.mark.parametrize("frame", [ETHER / V4 / DATA, ETHER / Dot1Q() / V6 / IPv6ExtHdrHopByHop() / QUERY])
def test_a_frame_that_was_short_on_the_wire_is_malformed(frame: ScapyPacket) -> None:
    whole = bytes(frame)
    for octets in range(len(whole)):
        with pytest.raises(MalformedPacket):
            decoded(whole[:octets])


def damaged(frame: ScapyPacket, damage: Callable[[bytearray], None]) -> bytes:
    octets = bytearray(bytes(frame))
    damage(octets)
    return bytes(octets)


def put(at: int, *octets: int) -> Callable[[bytearray], None]:
    def damage(frame: bytearray) -> None:
        frame[at : at + len(octets)] = bytes(octets)

    return damage


@pytest.mark.parametrize(
    "frame",
    [
        damaged(ETHER / V4 / DATA, put(14, 0x65)),
        damaged(ETHER / V4 / DATA, put(14, 0x44)),
        damaged(ETHER / V4 / DATA, put(16, 0, 19)),
        damaged(ETHER / V4 / DATA, put(16, 9, 9)),
        damaged(ETHER / V6 / DATA, put(14, 0x45)),
        damaged(ETHER / V4 / DATA, put(46, 0x40)),
        damaged(ETHER / V4 / DATA, put(46, 0xF0)),
        damaged(ETHER / V4 / QUERY, put(38, 0, 7)),
        damaged(ETHER / V4 / QUERY, put(38, 0, 17)),
        damaged(ETHER / V6 / IPv6ExtHdrHopByHop() / DATA, put(55, 200)),
        ETHER / Dot1Q() / Dot1Q() / Dot1Q() / Dot1Q() / Dot1Q() / V4 / DATA,
        ETHER / IP(src=CLIENT, dst=SERVER, flags="MF", frag=0, proto=17) / Raw(bytes(15)),
        ETHER / IP(src=CLIENT, dst=SERVER, frag=8191, proto=17) / Raw(bytes(15)),
    ],
)
def test_headers_that_cannot_be(frame: ScapyPacket | bytes) -> None:
    with pytest.raises(MalformedPacket):
        decoded(frame)
