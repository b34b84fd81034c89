"""What the eBPF filter passes and what it only counts, class by class, with real frames over a cable."""

import os
import struct
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pytest
from cable import Wire, drain, open_wire
from frames import ACK, FIN, PSH, RST, SYN, dns_query, frame, packed, tcp, udp
from kernel_run import KernelRun
from netns import needs_root

from rules.values.observation import FiveTuple, Transport
from sensor.capture.filter.flow_counts import FlowCount, count_key
from sensor.capture.filter.flow_heads import FlowHeads
from sensor.capture.filter.limits import Limits
from sensor.capture.live.live import LiveSource
from sensor.capture.live.ring import RingTap
from sensor.capture.live.sockets import Engine
from sensor.packet import LinkType

pytestmark = needs_root

V4 = ("10.0.0.2", 40000, "192.0.2.10", 443)
V6 = ("2001:db8::2", 40000, "2001:db8::10", 443)
ICMP, GRE, ICMPV6 = 1, 47, 58
QUIC_LONG, QUIC_SHORT = b"\xc3", b"\x43"


@dataclass(frozen=True)
class Filtered:
    """A cable, and a source behind the filter under test."""

    wire: Wire
    heads: FlowHeads
    source: LiveSource

    def passed(self, *frames: bytes) -> list[bool]:
        """Which of `frames` arrive; each must be unlike the others."""
        self.wire.send(*frames)
        seen = {packet.data[:ANY_HEAD] for packet in drain(self.source)}
        return [without_tag(sent)[:ANY_HEAD] in seen for sent in frames]

    def count(self, ends: tuple[str, int, str, int], transport: Transport = Transport.TCP) -> FlowCount:
        key, _ = count_key(five_tuple(ends, transport))
        found = self.heads.flow_counts.find(key)
        assert found is not None
        return found


ANY_HEAD = 240


@pytest.fixture(scope="module")
def cable() -> Iterator[Wire]:
    with open_wire() as wire:
        yield wire


@pytest.fixture
def filtered(cable: Wire) -> Iterator[Filtered]:
    yield from listening(cable, Limits(flows=1024))


def listening(wire: Wire, limits: Limits) -> Iterator[Filtered]:
    heads = FlowHeads(limits)
    with LiveSource(("eth0",), Engine("test", "", heads, RingTap)) as source:
        yield Filtered(wire, heads, source)


def without_tag(data: bytes) -> bytes:
    """The frame as a packet socket gets it."""
    return data[:12] + data[16:] if data[12:14] in (b"\x81\x00", b"\x88\xa8") else data


def five_tuple(ends: tuple[str, int, str, int], transport: Transport) -> FiveTuple:
    return FiveTuple(transport, packed(ends[0]), ends[1], packed(ends[2]), ends[3])


def back(ends: tuple[str, int, str, int]) -> tuple[str, int, str, int]:
    return (*ends[2:], *ends[:2])


def segment(ends: tuple[str, int, str, int], seq: int, flags: int = ACK, octets: int = 0, ack: int = 1) -> bytes:
    return tcp(0, ends, (seq, ack, flags), bytes(octets)).data


def datagram(ends: tuple[str, int, str, int], octets: int, number: int = 0, first: bytes = b"\x00") -> bytes:
    return udp(0, ends, first + struct.pack(">I", number) + b"\xff" * (octets - 5)).data


def stream(ends: tuple[str, int, str, int], segments: int, start: int = 1001) -> list[bytes]:
    return [segment(ends, start + 1400 * number, ACK | PSH, 1400) for number in range(segments)]


@pytest.mark.parametrize("ends", [V4, V6, back(V4), back(V6)])
def test_the_first_4096_octets_of_both_directions_pass_and_bulk_does_not(
    filtered: Filtered, ends: tuple[str, int, str, int]
) -> None:
    assert filtered.passed(segment(ends, 1000, SYN), segment(back(ends), 5000, SYN | ACK)) == [True, True]
    assert filtered.passed(*stream(ends, 10)) == [True] * 3 + [False] * 7
    assert filtered.passed(*stream(back(ends), 10, 5001)) == [True] * 3 + [False] * 7


def test_everything_is_counted_in_its_direction(filtered: Filtered) -> None:
    sent = [segment(V4, 1000, SYN), *stream(V4, 100)]
    answered = [segment(back(V4), 5000, SYN | ACK), *stream(back(V4), 7, 5001)]
    filtered.passed(*sent, *answered)
    _, is_low = count_key(five_tuple(V4, Transport.TCP))
    out, into = (0, 1) if is_low else (1, 0)
    counted = filtered.count(V4)
    assert counted.packets[out] == len(sent)
    assert counted.octets[out] == sum(map(len, sent))
    assert counted.packets[into] == len(answered)
    assert counted.octets[into] == sum(map(len, answered))
    totals = filtered.source.counters()
    assert totals.packets + totals.filtered_packets == len(sent) + len(answered)
    assert totals.filtered_octets == 1454 * (97 + 4)
    assert totals.flows_opened == 1


@pytest.mark.parametrize(
    "tags", [b"\x81\x00\x00\x0a", b"\x88\xa8\x00\x14\x81\x00\x00\x0a", b"\x88\xa8\x00\x14\x81\x00\x00\x0a" * 2]
)
@pytest.mark.parametrize("ends", [V4, V6])
def test_tags_do_not_matter(filtered: Filtered, tags: bytes, ends: tuple[str, int, str, int]) -> None:
    frames = [sent[:12] + tags + sent[12:] for sent in (segment(ends, 1000, SYN), *stream(ends, 5))]
    assert filtered.passed(*frames) == [True] * 4 + [False] * 2


def test_a_pppoe_session_is_read(filtered: Filtered) -> None:
    frames = [
        sent[:12] + b"\x88\x64\x11\x00\x00\x01" + struct.pack(">H", len(sent) - 12) + b"\x00\x21" + sent[14:]
        for sent in stream(V4, 5)
    ]
    assert filtered.passed(*frames) == [True] * 3 + [False] * 2


@pytest.mark.parametrize("headers", [[0], [60], [43], [0, 43, 60], [51], [0, 60, 43, 51, 60, 60, 60, 60]])
def test_extension_headers_are_walked(filtered: Filtered, headers: list[int]) -> None:
    frames = [with_extensions(sent, headers) for sent in (segment(V6, 1000, SYN), *stream(V6, 5))]
    assert filtered.passed(*frames) == [True] * 4 + [False] * 2


def with_extensions(sent: bytes, headers: Sequence[int]) -> bytes:
    """The frame with IPv6 extension headers between network and transport header."""
    chain = b""
    for kind, following in zip(headers, [*headers[1:], sent[20]], strict=True):
        chain += struct.pack(">BB14x", following, 2 if kind == 51 else 1)
    length = struct.pack(">H", len(sent) - 54 + len(chain))
    return sent[:18] + length + bytes((headers[0],)) + sent[21:54] + chain + sent[54:]


def test_fragments_pass_below_4096(filtered: Filtered) -> None:
    v4 = [fragment_v4(offset) for offset in (0, 1480, 4088, 4096, 8888)]
    assert filtered.passed(*v4) == [True, True, True, False, False]
    v6 = [fragment_v6(offset) for offset in (0, 1480, 4088, 4096, 8888)]
    assert filtered.passed(*v6) == [True, True, True, False, False]


def fragment_v4(offset: int) -> bytes:
    whole = frame(17, V4[0], V4[2], bytes(1480))
    return whole[:20] + struct.pack(">H", 0x2000 | offset >> 3) + whole[22:]


def fragment_v6(offset: int) -> bytes:
    return frame(44, V6[0], V6[2], struct.pack(">BBHI", 17, 0, offset | 1, 7) + bytes(1200))


def test_an_atomic_fragment_is_none(filtered: Filtered) -> None:
    frames = [
        sent[:18] + struct.pack(">HB", len(sent) - 54 + 8, 44) + sent[21:54] + b"\x06" + bytes(7) + sent[54:]
        for sent in stream(V6, 5)
    ]
    assert filtered.passed(*frames) == [True] * 3 + [False] * 2


@pytest.mark.parametrize("flag", [FIN, RST])
def test_the_end_passes(filtered: Filtered, flag: int) -> None:
    filtered.passed(*stream(V4, 10))
    assert filtered.passed(segment(V4, 50_000, ACK | flag)) == [True]


def test_acknowledgements_pass_only_at_the_opening(filtered: Filtered) -> None:
    opening = [segment(V4, 1000, SYN), *(segment(V4, 1001, ACK, ack=ack) for ack in range(10))]
    assert filtered.passed(*opening) == [True, True, True] + [False] * 8


def test_a_hello_behind_repetitions_and_out_of_order_passes(filtered: Filtered) -> None:
    filtered.passed(segment(V4, 1000, SYN))
    first, second, third, *bulk = stream(V4, 6)
    assert filtered.passed(third, first) == [True, True]
    filtered.passed(first, first, first)
    assert filtered.passed(second, *bulk) == [True, False, False, False]


def test_repetitions_are_bounded(filtered: Filtered) -> None:
    same = [tcp(0, V4, (1001, 1, ACK), struct.pack(">I", number) * 300).data for number in range(40)]
    assert filtered.passed(*same).count(True) == 14  # 16 kB of 1200


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_a_flow_seen_from_its_middle_gets_a_head(filtered: Filtered, transport: str) -> None:
    if transport == "tcp":
        assert filtered.passed(*stream(V4, 6, 0xFFFFFF00)) == [True] * 3 + [False] * 3
        assert filtered.passed(*stream(back(V4), 6, 77)) == [True] * 3 + [False] * 3
    else:
        assert filtered.passed(*(datagram(V4, 700, number) for number in range(6))) == [True] * 3 + [False] * 3


def test_a_syn_opens_a_new_head(filtered: Filtered) -> None:
    filtered.passed(
        segment(V4, 1000, SYN), segment(back(V4), 5000, SYN | ACK), *stream(V4, 9), *stream(back(V4), 9, 5001)
    )
    before = filtered.count(V4)
    assert filtered.passed(segment(V4, 900_000, SYN), segment(back(V4), 800_000, SYN | ACK)) == [True, True]
    assert filtered.passed(*stream(V4, 5, 900_001)) == [True] * 3 + [False] * 2
    assert filtered.passed(*stream(back(V4), 5, 800_001)) == [True] * 3 + [False] * 2
    assert filtered.count(V4).opened_ns > before.opened_ns
    assert sum(filtered.count(V4).packets) == 12


def test_a_repeated_syn_does_not(filtered: Filtered) -> None:
    filtered.passed(segment(V4, 1000, SYN), *stream(V4, 12))
    assert filtered.passed(segment(V4, 1000, SYN, ack=2)) == [True]
    assert filtered.passed(segment(V4, 1001 + 14_000, ACK, 1200)) == [False]


def test_dns_always_passes(filtered: Filtered) -> None:
    for port in (53, 5353, 5355):
        ends = ("10.0.0.2", 4000, "192.0.2.53", port)
        assert all(filtered.passed(*(datagram(ends, 900, number) for number in range(20))))
        assert all(filtered.passed(*(datagram(back(ends), 900, number) for number in range(20))))
    assert all(filtered.passed(*stream(("10.0.0.2", 4000, "192.0.2.53", 53), 8)))


def test_dns_passes_on_any_port_by_its_content(filtered: Filtered) -> None:
    ends = ("10.0.0.2", 4000, "192.0.2.53", 9999)
    queries = [udp(0, ends, dns_query(f"{number:050}.example.com", ident=number)).data for number in range(60)]
    assert all(filtered.passed(*queries))
    assert filtered.passed(datagram(ends, 900)) == [False]


def test_long_quic_headers_pass_until_12_kilobytes(filtered: Filtered) -> None:
    passed = filtered.passed(*(datagram(V6, 1200, number, QUIC_LONG) for number in range(14)))
    assert passed == [True] * 10 + [False] * 4
    assert filtered.passed(*(datagram(V4, 1200, number, QUIC_SHORT) for number in range(4))) == [
        True,
        True,
        False,
        False,
    ]


def test_other_protocols_pass_128_octets(filtered: Filtered) -> None:
    packets = [frame(GRE, "10.0.0.2", "192.0.2.9", struct.pack(">I", number) + bytes(60)) for number in range(4)]
    assert filtered.passed(*packets) == [True, True, False, False]
    big = frame(GRE, "10.0.0.3", "192.0.2.9", bytes(1000))
    filtered.wire.send(big)
    (got,) = drain(filtered.source)
    assert (len(got.data), got.wire_octets) == (34 + 128, len(big))


@pytest.mark.parametrize(("protocol", "ends", "kind"), [(ICMP, V4, 3), (ICMPV6, V6, 1)])
def test_news_of_the_unreachable_always_passes(
    filtered: Filtered, protocol: int, ends: tuple[str, int, str, int], kind: int
) -> None:
    news = [
        frame(protocol, ends[2], ends[0], struct.pack(">BBHI", kind, 1, number, 0) + bytes(60)) for number in range(9)
    ]
    assert all(filtered.passed(*news))
    echo = [frame(protocol, ends[2], ends[0], struct.pack(">BBHI", 8, 0, number, 0) + bytes(60)) for number in range(9)]
    assert filtered.passed(*echo) == [True] * 2 + [False] * 7


def test_what_is_not_ip_does_not_pass(filtered: Filtered) -> None:
    arp = bytes(12) + b"\x08\x06" + bytes(46)
    assert filtered.passed(arp, arp[:12] + b"\x88\xcc" + bytes(46)) == [False, False]


def test_the_length_that_passes_comes_from_the_filter(filtered: Filtered) -> None:
    giant = segment(V4, 1000, ACK, 60_000)
    filtered.wire.send(giant, datagram(V6, 9000, first=QUIC_LONG))
    head, whole = drain(filtered.source)
    assert (len(head.data), head.wire_octets) == (54 + 4096, len(giant))
    assert (len(whole.data), whole.wire_octets) == (62 + 9000, 62 + 9000)


def test_damaged_headers_do_no_harm(filtered: Filtered) -> None:
    whole = segment(V4, 1000, SYN)
    cut_short = [whole[:octets] for octets in range(14, len(whole))]
    lying = [bytes(12) + b"\x08\x00" + bytes((first,)) + whole[15:] for first in range(0x40, 0x50)]
    filtered.wire.send(*cut_short, *lying, *(bytes(12) + b"\x86\xdd" + bytes((number,)) * 80 for number in range(256)))
    drain(filtered.source)
    assert filtered.passed(segment(V6, 1000, SYN)) == [True]


def test_flows_that_were_idle_get_a_new_head(cable: Wire) -> None:
    for filtered in listening(cable, Limits(flows=1024, udp_idle_ns=600_000_000, tcp_idle_ns=600_000_000)):
        assert filtered.passed(*stream(V4, 5)) == [True] * 3 + [False] * 2
        time.sleep(0.7)
        assert filtered.passed(*stream(V4, 5, 90_000)) == [True] * 3 + [False] * 2
        assert filtered.passed(*(datagram(V6, 1000, number) for number in range(4))) == [True, True, False, False]
        time.sleep(0.7)
        assert filtered.passed(*(datagram(V6, 1000, number) for number in range(9, 13))) == [True, True, False, False]


@pytest.mark.skipif(len(os.sched_getaffinity(0)) == 1, reason="needs two processors")
def test_a_flow_whose_directions_come_on_two_processors_is_one_flow() -> None:
    packets = 1_000_000
    with KernelRun(Limits(flows=1024)) as kernel:
        frames = segment(V4, 1, octets=1000), segment(back(V4), 1, octets=10)
        threads = [threading.Thread(target=kernel.octets, args=(data, packets)) for data in frames]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        ((_, counted),) = kernel.flow_counts
    assert counted.packets == (packets, packets)


def test_a_table_that_is_too_small_passes_more_and_loses_nothing(cable: Wire) -> None:
    clients = [f"10.1.{number >> 8}.{number & 255}" for number in range(2000)]
    opening = [segment((client, 4000, "192.0.2.1", 443), 1000, SYN) for client in clients]
    first = [segment((client, 4000, "192.0.2.1", 443), 1001, ACK, 100) for client in clients]
    second = [segment((client, 4000, "192.0.2.1", 443), 1101, ACK, 100) for client in clients]
    for filtered in listening(cable, Limits(flows=64)):
        assert all(filtered.passed(*opening, *first, *second))
        assert filtered.source.counters().flows_opened > len(clients)
        assert filtered.source.counters().kernel_drops == 0


def test_limits_are_a_map(cable: Wire) -> None:
    limits = Limits(flows=1024, tcp_octets=1500, udp_octets=500, quic_octets=600, other_octets=10, fragment_octets=8)
    for filtered in listening(cable, limits):
        assert filtered.passed(*stream(V4, 4)) == [True, True, False, False]
        assert filtered.passed(*(datagram(V4, 300, number) for number in range(4))) == [True, True, False, False]
        assert filtered.passed(fragment_v4(0), fragment_v4(8)) == [True, False]


def test_a_device_without_ethernet_header_is_filtered(cable: Wire) -> None:
    cable.sensor.ip("tuntap add tun9 mode tun")
    for filtered in listening(cable, Limits(flows=64)):
        filtered.source.listen_on(("tun9",))
        assert filtered.source.interfaces == ("tun9",)
        assert filtered.source._sockets.taps["tun9"].link_type is LinkType.RAW
