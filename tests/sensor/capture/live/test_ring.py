"""At the sender's full speed nothing that matters is lost; the rest of the ring's behaviour is in test_live.py."""

import json
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import pytest
from cable import Wire, drain, open_wire, send_frames
from frames import ACK, SYN, tcp
from netns import needs_root
from structlog.testing import capture_logs

from sensor.capture.filter.flow_heads import FlowHeads
from sensor.capture.filter.limits import Limits
from sensor.capture.filter.packet_filter import NOTHING_CUT, EveryIpPacket
from sensor.capture.live.live import LiveSource
from sensor.capture.live.plain import PlainTap
from sensor.capture.live.ring import BLOCK_OCTETS, RingTap, open_ring, take, take_in_python
from sensor.capture.live.sockets import Engine
from sensor.packet import Packet

pytestmark = needs_root

BENCH = Path(__file__).parents[4] / "bench" / "engines.py"
TOO_MANY_BLOCKS = 1 << 22  # their list alone is larger than what the kernel allocates at once: nothing is taken
ENDS = ("10.0.0.2", 40000, "192.0.2.10", 443)
HEADER = struct.Struct("@6IH")  # struct tpacket3_hdr
FRAME_AT = 80


def block(frames: Sequence[bytes], step: int = 256) -> bytes:
    """Return a ring's packets, one each `step` octets."""
    rows = [HEADER.pack(step, 7, at, len(frame), 1500, 0, FRAME_AT) for at, frame in enumerate(frames)]
    parts = [row.ljust(FRAME_AT, b"\0") + frame for row, frame in zip(rows, frames, strict=True)]
    return b"".join(part.ljust(step, b"\0") for part in parts)


@pytest.fixture
def wire() -> Iterator[Wire]:
    with open_wire() as cable:
        yield cable


def test_nothing_that_matters_is_lost_at_full_speed_and_bulk_does_not_pass() -> None:
    argv = [sys.executable, str(BENCH), "--engine", "flow-heads-ring", "--loops", "4", "--json"]
    done = subprocess.run(argv, check=True, capture_output=True, text=True, timeout=100)
    result = json.loads(done.stdout)
    assert result["kernel_drops"] == 0
    assert result["lost"] == dict.fromkeys(result["lost"], 0)
    assert result["counted"] == result["offered"]
    assert result["passed"] < 0.05 * result["offered"]


@pytest.mark.parametrize("way", [take, take_in_python], ids=["compiled", "python"])
def test_a_packet_is_what_the_kernel_says_of_it_and_none_lies_outside_the_ring(
    way: Callable[..., tuple[int, int]],
) -> None:
    frames = [bytes([number]) * (number * 50) for number in range(4)]
    ring = block(frames)
    packets: list[Packet] = []
    assert way(ring, 256, 3, 2, packets, Packet, 1, "eth0", *NOTHING_CUT) == (3 * 256, 2)
    assert packets == [
        Packet(7_000_000_001, 1, frames[1], 1500, "eth0"),
        Packet(7_000_000_002, 1, frames[2], 1500, "eth0"),
    ]
    last = 3 * 256
    for cut in range(last, last + FRAME_AT + len(frames[3])):
        with pytest.raises(ValueError, match="outside the ring"):
            way(ring[:cut], last, 1, 1, packets, Packet, 1, "eth0", *NOTHING_CUT)
    for at in (-1, len(ring) + 1):
        with pytest.raises(ValueError, match="outside the ring"):
            way(ring, at, 1, 1, packets, Packet, 1, "eth0", *NOTHING_CUT)
    assert len(packets) == 2


def test_an_event_waits_for_no_full_block(wire: Wire) -> None:
    with LiveSource(("eth0",), Engine(open_tap=RingTap)) as source:
        wire.send(tcp(0, ENDS, (1, 1, SYN)).data)
        started = time.monotonic()
        (packet,) = source.read(60) or []
        assert time.monotonic() - started < 10
        assert abs(time.time_ns() - packet.ts_ns) < 5_000_000_000


@pytest.mark.parametrize(
    ("sizes", "kind", "shortfall"),
    [
        ((TOO_MANY_BLOCKS, TOO_MANY_BLOCKS, 4), RingTap, "a ring of 512 KiB for want of memory"),
        ((TOO_MANY_BLOCKS, TOO_MANY_BLOCKS), PlainTap, "no ring for want of memory"),
        ((4, 1), RingTap, ""),
    ],
)
def test_without_memory_for_the_ring_there_is_less_of_it(
    wire: Wire, sizes: tuple[int, ...], kind: type, shortfall: str
) -> None:
    with LiveSource(("eth0",), Engine("ring", "a reason", open_tap=partial(open_ring, sizes=sizes))) as source:
        assert source.engine_reason == (f"a reason; eth0 has {shortfall}" if shortfall else "a reason")
        assert isinstance(source._sockets.taps["eth0"], kind)
        wire.send(tcp(0, ENDS, (1, 1, SYN)).data)
        assert len(drain(source)) == 1


def test_data_outlives_its_block(wire: Wire) -> None:
    frames = [tcp(0, ENDS, (number, 1, ACK), number.to_bytes(4, "big") * 300).data for number in range(2000)]
    with LiveSource(("eth0",), Engine(open_tap=RingTap)) as source:
        packets = []
        for start in range(0, len(frames), 100):  # 2.5 MB through a ring that is read as it fills
            wire.send(*frames[start : start + 100])
            packets += drain(source)
    assert [packet.data for packet in packets] == frames


def test_packets_of_several_interfaces_come_in_the_order_of_time(wire: Wire) -> None:
    wire.network.cable(wire.sensor, "eth1", wire.sender, "eth1")
    with LiveSource(("eth0", "eth1"), Engine(open_tap=RingTap)) as source:
        frames = [tcp(0, ("10.0.0.2", number, "192.0.2.10", 443), (number, 1, SYN)).data for number in range(1, 41)]
        for number, frame in enumerate(frames):
            wire.sender.call(send_frames, f"eth{number % 2}", (frame,))
        time.sleep(0.2)
        batch = source.read(1) or []
    assert {packet.interface for packet in batch} == {"eth0", "eth1"}
    assert [packet.ts_ns for packet in batch] == sorted(packet.ts_ns for packet in batch)


def test_a_flow_that_two_interfaces_show_is_taken_from_the_first(wire: Wire) -> None:
    wire.network.cable(wire.sensor, "eth1", wire.sender, "eth1")
    frames = [tcp(0, ENDS, (1001 + 1400 * number, 1, ACK), bytes(1400)).data for number in range(6)]
    with LiveSource(("eth0", "eth1"), Engine("", "", FlowHeads(Limits(flows=64)), RingTap)) as source:
        wire.send(*frames[:2])
        wire.sender.call(send_frames, "eth1", tuple(frames[2:]))
        assert [packet.interface for packet in drain(source)] == ["eth0", "eth0"]
        counters = source.counters()
        assert counters.flows_opened == 1
        assert counters.copies == 4
        assert isinstance(source.way.packet_filter, FlowHeads)
        (count,) = dict(source.way.packet_filter.flow_counts).values()
        assert sum(count.packets) == 2


def test_a_full_ring_drops_and_counts(wire: Wire) -> None:
    tap = RingTap("eth0", EveryIpPacket(), blocks=2)
    frames = [tcp(0, ENDS, (number, 1, ACK), bytes(1400)).data for number in range(400)]
    wire.send(*frames)
    assert tap.waiting_blocks() == 2
    packets: list[Packet] = []
    tap.drain(packets, 1000)
    assert tap.waiting_blocks() == 0
    assert len(packets) + tap.count_drops() == len(frames)
    assert len(packets) >= BLOCK_OCTETS // 1500
    tap.close()


def test_a_reader_who_waits_for_a_block_that_the_kernel_passed_over_finds_its_place(wire: Wire) -> None:
    frames = [tcp(0, ENDS, (number, 1, ACK), bytes(1400)).data for number in range(400)]
    with LiveSource(("eth0",), Engine(open_tap=partial(RingTap, blocks=4))) as source:
        (tap,) = source._sockets.taps.values()
        assert isinstance(tap, RingTap)
        wire.send(*frames)  # all blocks are filled, and nothing more comes before the first is read
        tap._block = 1
        tap._leave_block()
        tap._block = 1
        with capture_logs() as logs:
            assert len(drain(source, 0.5)) > 200
        assert logs[0]["event"] == "ring_out_of_step"
        lost, found = source.kernel_drops(), []
        for start in range(0, 400, 100):
            wire.send(*frames[start : start + 100])
            found += [row.data for row in drain(source)]
        found += [row.data for row in drain(source, 1)]
        assert sorted(found) == sorted(frames)
        assert source.kernel_drops() == lost


def test_the_share_that_waits_is_said_now_and_at_its_highest(wire: Wire) -> None:
    frames = [tcp(0, ENDS, (number, 1, ACK), bytes(1400)).data for number in range(400)]
    with LiveSource(("eth0",), Engine(open_tap=partial(RingTap, blocks=16))) as source:
        assert source.fill() == 0
        wire.send(*frames)
        waiting = source.fill()
        assert 4 / 16 <= waiting <= 6 / 16
        while source.read(0.2):
            pass
        assert source.fill() == 0
        assert waiting <= source.take_fill_peak() <= waiting + 1 / 16
        assert source.take_fill_peak() == 0


def test_blocks_that_wait_around_the_rings_end_are_counted(wire: Wire) -> None:
    frames = [tcp(0, ENDS, (number, 1, ACK), bytes(1400)).data for number in range(200)]
    tap = RingTap("eth0", EveryIpPacket(), blocks=4)
    for _ in range(3):
        wire.send(*frames)
        time.sleep(0.1)  # the last block is handed over by the clock
        assert tap.waiting_blocks() == 3
        tap.drain([], 1000)
        assert tap.waiting_blocks() == 0
    assert tap.count_drops() == 0
    tap.close()


def test_blocks_are_read_although_the_newest_is_taken_for_the_kernels(wire: Wire) -> None:
    """The kernel calls a ring readable by its newest block alone, and says nothing more once all are filled."""
    frames = [tcp(0, ENDS, (number, 1, ACK), bytes(1400)).data for number in range(400)]
    with LiveSource(("eth0",), Engine(open_tap=partial(RingTap, blocks=4))) as source:
        (tap,) = source._sockets.taps.values()
        assert isinstance(tap, RingTap)
        wire.send(*frames)
        tap._leave_block()
        wire.send(*frames)  # fills the first again
        tap._block = 0
        tap._leave_block()
        assert len(drain(source, 0.5)) > 200
