"""What the program passes and only counts where the kernel passes everything, with real frames over a cable."""

import time
from collections.abc import Iterator
from functools import partial

import pytest
from cable import Wire, drain, drain_counted, open_wire, send_frames
from frames import ACK, FIN, SYN, S, packed, tcp, udp
from netns import needs_root

from rules.values.observation import Transport
from sensor.capture.filter.classic import HEAD_SNAP_OCTETS
from sensor.capture.filter.flow_table import make_table
from sensor.capture.filter.limits import Limits
from sensor.capture.filter.program_heads import IS_COMPILED, ProgramHeads
from sensor.capture.live.live import LiveSource
from sensor.capture.live.plain import PlainTap
from sensor.capture.live.ring import RingTap, take
from sensor.capture.live.sockets import Engine
from sensor.capture.live.tap import TapOpener
from sensor.flows.flow import Flow, flow_key
from sensor.packet import LinkType, Packet

pytestmark = [needs_root, pytest.mark.skipif(not IS_COMPILED, reason="there was no compiler at install")]

UP = ("10.0.0.2", 40000, "192.0.2.10", 443)
DOWN = (*UP[2:], *UP[:2])
UP_V6 = ("2001:db8::2", 40000, "2001:db8::10", 443)
TAPS: dict[str, TapOpener] = {"ring": partial(RingTap, blocks=16), "af-packet": PlainTap}


@pytest.fixture
def wire() -> Iterator[Wire]:
    with open_wire() as cable:
        yield cable


@pytest.fixture(params=TAPS)
def source(request: pytest.FixtureRequest, wire: Wire) -> Iterator[LiveSource]:  # noqa: ARG001 - there must be a cable
    way = Engine("test", "", ProgramHeads(Limits(flows=1024)), TAPS[request.param])
    with LiveSource(("eth0",), way) as opened:
        yield opened


def stream(ends: tuple[str, int, str, int], segments: int, start: int = 1001) -> list[bytes]:
    return [tcp(0, ends, (start + 1400 * number, 1, ACK), bytes(1400)).data for number in range(segments)]


def opening(ends: tuple[str, int, str, int], seq: int = 1000, flags: int = SYN) -> bytes:
    return tcp(0, ends, (seq, 1, flags)).data


def flow_of(ends: tuple[str, int, str, int]) -> Flow:
    key = flow_key(Transport.TCP, packed(ends[0]), ends[1], packed(ends[2]), ends[3])
    return Flow(key, 1, time.time_ns(), None)


def counted(source: LiveSource, ends: tuple[str, int, str, int]) -> tuple[int, int, int]:
    """What was counted of a flow and not asked for before: octets each way and packets."""
    flow = flow_of(ends)
    source.count_apart(flow)
    return flow.octets_0, flow.octets_1, flow.packets


@pytest.mark.parametrize("ends", [UP, UP_V6])
def test_heads_pass_and_the_rest_is_counted_in_its_direction(
    wire: Wire, source: LiveSource, ends: tuple[str, int, str, int]
) -> None:
    back = (*ends[2:], *ends[:2])
    sent = [opening(ends), opening(back, 5000, SYN | ACK), *stream(ends, 100), *stream(back, 7, 5001)]
    wire.send(*sent)
    arrived = drain(source)
    assert [packet.data for packet in arrived] == [*sent[:5], *sent[102:105]]
    frame = len(sent[2])
    assert counted(source, ends) == (97 * frame, 4 * frame, 101)
    assert counted(source, ends) == (0, 0, 0)
    wire.send(*stream(back, 5, 50_000))
    assert drain(source) == []
    assert counted(source, back) == (5 * frame, 0, 5)
    counters = source.counters()
    assert (counters.filtered_packets, counters.filtered_octets) == (106, 106 * frame)
    assert (counters.packets, counters.flows_opened, counters.flows_places) == (8, 1, 1024)
    assert (counters.kernel_drops, counters.flows_displaced) == (0, 0)


def test_what_was_counted_last_says_when(wire: Wire, source: LiveSource) -> None:
    """So that an idle agent's beats can be told."""
    wire.send(*stream(UP, 10))
    drain(source)
    before_ns = time.time_ns()
    wire.send(*stream(UP, 1, 60_000))
    drain(source)
    flow = flow_of(UP)
    first_ns = flow.first_ns
    flow.last_ns = 0
    source.count_apart(flow)
    assert before_ns - S // 10 < flow.last_ns <= first_ns


def test_a_flow_that_begins_anew_hands_out_what_was_counted_of_the_one_before(wire: Wire, source: LiveSource) -> None:
    first, second = stream(UP, 10), stream(UP, 5, 90_001)
    wire.send(opening(UP), *first, opening(UP, 90_000), *second)
    packets, counts = drain_counted(source)
    assert [packet.data for packet in packets] == [opening(UP), *first[:3], opening(UP, 90_000), *second[:3]]
    ((place, count),) = counts
    assert (place, count.packets, count.octets_0 + count.octets_1) == (4, 7, 7 * len(first[0]))
    assert counted(source, UP)[2] == 2


def test_a_full_table_passes_more_and_loses_nothing(wire: Wire) -> None:
    ends = [("10.0.0.2", 40000 + number, "192.0.2.10", 443) for number in range(64)]
    frames = [frame for row in zip(*(stream(each, 6) for each in ends), strict=True) for frame in row]
    with LiveSource(("eth0",), Engine("", "", ProgramHeads(Limits(flows=16)), TAPS["ring"])) as small:
        wire.send(*frames)
        assert len(drain(small)) == len(frames)
        counters = small.counters()
    assert (counters.flows_opened, counters.flows_displaced) == (len(frames), len(frames) - 16)


def test_a_giant_keeps_its_length_and_passes_up_to_its_head(wire: Wire, source: LiveSource) -> None:
    segment = tcp(0, UP, (1, 1, ACK), bytes(40_000)).data
    datagram = udp(0, UP, bytes(40_000)).data
    wire.send(segment, datagram)
    found = drain(source)
    assert [packet.wire_octets for packet in found] == [len(segment), len(datagram)]
    assert [packet.data for packet in found] == [segment[: 54 + 4096], datagram[: len(found[1].data)]]
    assert HEAD_SNAP_OCTETS <= len(found[1].data) <= HEAD_SNAP_OCTETS + 64


@pytest.mark.parametrize("ends", [UP, UP_V6])
def test_packets_without_a_link_header_are_cut_off_too(ends: tuple[str, int, str, int]) -> None:
    rows = [data[14:] for data in (opening(ends), *stream(ends, 6), tcp(0, ends, (9000, 1, ACK | FIN)).data)]
    ring = b"".join(ring_packet(number, row) for number, row in enumerate(rows))
    table, found = make_table(Limits(flows=8)), list[Packet]()
    assert take(ring, 0, 8, 8, found, Packet, LinkType.RAW, "tun0", table, 1, []) == (len(ring), 8)
    assert [packet.data for packet in found] == [*rows[:4], rows[7]]


def ring_packet(second: int, data: bytes) -> bytes:
    header = (28 + len(data), second, 0, len(data), len(data), 0)
    return b"".join(number.to_bytes(4, "little") for number in (*header, 28)) + data


def test_what_several_interfaces_show_is_counted_once(wire: Wire) -> None:
    """As a bridge and its port do; each packet comes by both."""
    wire.network.cable(wire.sensor, "eth1", wire.sender, "eth1")
    way = Engine("", "", ProgramHeads(Limits(flows=1024)), TAPS["ring"])
    frames = [opening(UP), opening(DOWN, 5000, SYN | ACK), *stream(UP, 20), *stream(DOWN, 10, 5001)]
    with LiveSource(("eth0", "eth1"), way) as source:
        for interface in ("eth1", "eth0"):
            wire.sender.call(send_frames, interface, tuple(frames))
        arrived, counts = drain_counted(source, 0.3)
        assert {packet.interface for packet in arrived} == {"eth1"}
        assert [packet.data for packet in arrived] == [*frames[:5], *frames[22:25]]
        assert counts == []
        assert counted(source, UP) == (17 * len(frames[2]), 7 * len(frames[2]), 24)
        assert source.counters().copies == 2 * 4
