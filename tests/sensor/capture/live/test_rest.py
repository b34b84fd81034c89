"""How packets of a stream gather before they are handed out."""

import mmap
import os
import select
import signal
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from cable import Wire, drain, open_wire, send_frames
from frames import ACK, ask, tcp
from netns import needs_root

from sensor.capture.live import live
from sensor.capture.live.live import BATCH_PACKETS, LiveSource
from sensor.capture.live.plain import PlainTap
from sensor.capture.live.ring import LATE_MS, RETIRE_MS, RingTap, rest, rest_in_python
from sensor.capture.live.sockets import Engine
from sensor.capture.live.tap import TapOpener
from sensor.capture.screening.choice import make_screen
from sensor.capture.screening.screen import is_always

ENDS = ("10.0.0.2", 40000, "192.0.2.10", 443)
OCTETS = 4096  # of a block
STATUS_AT = 8  # struct tpacket_block_desc (linux/if_packet.h)
LONG_S, DAY_S = 60.0, 86_400.0
LAG_NS = (2 * RETIRE_MS + LATE_MS) * 1_000_000
BOTH_WAYS = pytest.mark.parametrize("way", [rest, rest_in_python], ids=["compiled", "python"])
Rest = Callable[[mmap.mmap, int, int, int, select.epoll, int, int], None]


class Blocks:
    """The blocks of a ring, and what tells that one was filled."""

    def __init__(self, *are_filled: bool) -> None:
        self.ring = mmap.mmap(-1, OCTETS * len(are_filled))
        self.count = len(are_filled)
        self._news = os.eventfd(0)
        self.told = select.epoll()
        self.told.register(self._news, select.EPOLLIN | select.EPOLLET)
        for number, is_filled in enumerate(are_filled):
            if is_filled:
                self.ring[number * OCTETS + STATUS_AT] = 1

    def fill(self, number: int) -> None:
        """Hand a block over, as the kernel does."""
        self.ring[number * OCTETS + STATUS_AT] = 1
        os.eventfd_write(self._news, 1)

    def wait(self, way: Rest, most: int, seconds: float = LONG_S, *, block: int = 0) -> float:
        """Rest, and return how many seconds were left of those that it might take."""
        until_ns = time.monotonic_ns() + int(seconds * 1e9)
        way(self.ring, block, self.count, OCTETS, self.told, most, until_ns)
        return (until_ns - time.monotonic_ns()) / 1e9


@BOTH_WAYS
@pytest.mark.parametrize(
    ("are_filled", "block", "most"),
    [((1, 1, 1, 0), 0, 2), ((1, 0, 0, 1), 3, 1), ((1, 1, 1, 1), 2, 3), ((1, 0, 0, 0), 0, 0)],
)
def test_nobody_rests_while_more_blocks_wait_than_may(
    way: Rest, are_filled: tuple[int, ...], block: int, most: int
) -> None:
    assert Blocks(*map(bool, are_filled)).wait(way, most, block=block) > 0


@BOTH_WAYS
@pytest.mark.parametrize(
    ("are_filled", "block", "most"), [((0, 1, 1, 1), 0, 0), ((1, 1, 0, 1), 0, 2), ((1, 1, 1, 1), 0, 4)]
)
def test_a_rest_ends_by_the_clock(way: Rest, are_filled: tuple[int, ...], block: int, most: int) -> None:
    assert Blocks(*map(bool, are_filled)).wait(way, most, 0.02, block=block) <= 0


@BOTH_WAYS
def test_a_rest_ends_when_more_blocks_are_filled_than_may_wait_and_not_before(way: Rest) -> None:
    blocks = Blocks(False, False, False, False)
    is_over = threading.Event()

    def wait() -> None:
        blocks.wait(way, 1)
        is_over.set()

    waiter = threading.Thread(target=wait)
    waiter.start()
    blocks.fill(0)
    assert not is_over.wait(0.1)
    blocks.fill(1)
    assert is_over.wait(LONG_S / 2)
    waiter.join()


def asked_of_the_kernel(waiter: threading.Thread, blocks: Blocks) -> int:
    """The milliseconds that a thread waits in epoll_wait(2): proc(5), `syscall`."""
    while True:
        words = Path(f"/proc/self/task/{waiter.native_id}/syscall").read_text().split()
        if words[1:2] == [hex(blocks.told.fileno())]:
            return int(words[4], 16)
        time.sleep(0.01)


@BOTH_WAYS
def test_a_rest_may_be_longer_than_the_kernel_waits_at_once(way: Rest) -> None:
    blocks, left_s = Blocks(False), list[float]()
    waiter = threading.Thread(target=lambda: left_s.append(blocks.wait(way, 0, 30 * DAY_S)), daemon=True)
    waiter.start()
    assert 0 < asked_of_the_kernel(waiter, blocks) < 1 << 31
    blocks.fill(0)
    waiter.join()
    assert left_s[0] > 29 * DAY_S


@BOTH_WAYS
def test_who_is_told_to_end_does_not_rest_on(way: Rest) -> None:
    def end(_signal: int, _frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, end)
    try:
        with pytest.raises(KeyboardInterrupt):
            signal.setitimer(signal.ITIMER_REAL, 0.05)
            Blocks(False).wait(way, 0)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.skipif(rest is rest_in_python, reason="there was no compiler at install")
@pytest.mark.parametrize(
    ("block", "count", "octets"), [(0, 5, OCTETS), (-1, 4, OCTETS), (0, 0, OCTETS), (0, 4, 8), (0, 4, -OCTETS)]
)
def test_blocks_outside_the_ring_are_refused(block: int, count: int, octets: int) -> None:
    blocks = Blocks(False, False, False, False)
    with pytest.raises(ValueError, match="outside the ring"):
        rest(blocks.ring, block, count, octets, blocks.told, 1, 0)


@pytest.fixture
def wire() -> Iterator[Wire]:
    with open_wire() as cable:
        yield cable


def frames(count: int, first: int = 0) -> list[bytes]:
    return [tcp(0, ENDS, (1400 * number, 1, ACK), bytes(1400)).data for number in range(first, first + count)]


@needs_root
@pytest.mark.parametrize("open_tap", [RingTap, PlainTap])
def test_what_comes_behind_packets_that_were_handed_out_gathers(
    open_tap: TapOpener, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "REST_S", 1.0)
    monkeypatch.setattr("sensor.capture.live.plain.NAP_S", 1.0)
    with LiveSource(("eth0",), Engine(open_tap=open_tap)) as source:
        wire.send(*frames(1))
        assert len(source.read(LONG_S) or []) == 1
        wire.send(*frames(1, 1))
        time.sleep(0.3)  # so it would have been handed out alone
        wire.send(*frames(1, 2))
        assert [packet.data for packet in source.read(LONG_S) or []] == frames(2, 1)


@needs_root
def test_a_rest_is_no_longer_than_whoever_reads_may_wait(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "REST_S", LONG_S)
    with LiveSource(("eth0",), Engine(open_tap=RingTap)) as source:
        wire.send(*frames(1))
        assert len(source.read(LONG_S) or []) == 1
        wire.send(*frames(1, 1))
        time.sleep(0.3)
        assert [packet.data for packet in source.read(0) or []] == frames(1, 1)


@needs_root
def test_half_a_ring_is_enough_to_be_read(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "REST_S", LONG_S)
    with LiveSource(("eth0",), Engine(open_tap=partial(RingTap, blocks=8))) as source:
        wire.send(*frames(1))
        assert len(source.read(LONG_S) or []) == 1
        wire.send(*frames(BATCH_PACKETS, 1))  # six blocks
        began_s = time.monotonic()
        found = [packet.data for packet in source.read(LONG_S) or []]
        assert len(found) > BATCH_PACKETS / 2
        assert found == frames(len(found), 1)
        assert time.monotonic() - began_s < LONG_S / 2
        assert source.kernel_drops() == 0


@needs_root
@pytest.mark.parametrize("blocks", [1, 2, 4])
def test_of_few_blocks_half_is_enough_too(blocks: int, wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "REST_S", LONG_S)
    with LiveSource(("eth0",), Engine(open_tap=partial(RingTap, blocks=blocks))) as source:
        wire.send(*frames(1))
        assert len(source.read(LONG_S) or []) == 1
        wire.send(*frames(30, 1), *frames(60 * (blocks // 3), 31))  # in a block, of four in two
        began_s = time.monotonic()
        assert source.read(LONG_S)
        assert time.monotonic() - began_s < LONG_S / 2
        assert source.kernel_drops() == 0


@needs_root
def test_nobody_rests_behind_a_full_batch(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "REST_S", LONG_S)
    with LiveSource(("eth0",), Engine(open_tap=partial(RingTap, blocks=8))) as source:
        wire.send(*frames(1))
        assert len(source.read(LONG_S) or []) == 1
        wire.send(*frames(BATCH_PACKETS + 100, 1))  # eight blocks
        time.sleep(0.3)
        began_s = time.monotonic()
        assert [len(source.read(LONG_S) or []) for _ in range(2)] == [BATCH_PACKETS, 100]
        assert time.monotonic() - began_s < LONG_S / 2


@needs_root
def test_what_waits_already_and_what_several_interfaces_show_is_read_at_once(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "REST_S", LONG_S)
    wire.network.cable(wire.sensor, "eth1", wire.sender, "eth1")
    with LiveSource(("eth0",), Engine(open_tap=RingTap)) as source:
        wire.send(*frames(2 * BATCH_PACKETS))
        time.sleep(0.3)
        began_s = time.monotonic()
        assert [len(source.read(LONG_S) or []) for _ in range(2)] == [BATCH_PACKETS, BATCH_PACKETS]
        source.listen_on(("eth0", "eth1"))
        wire.sender.call(send_frames, "eth1", tuple(frames(1)))
        assert len(source.read(LONG_S) or []) == 1
        wire.sender.call(send_frames, "eth1", tuple(frames(1, 7)))
        assert len(source.read(LONG_S) or []) == 1
        assert time.monotonic() - began_s < LONG_S / 2


@needs_root
@pytest.mark.parametrize("open_tap", [RingTap, PlainTap])
def test_what_gathered_on_an_interface_that_is_gone_is_not_lost(open_tap: TapOpener, wire: Wire) -> None:
    with LiveSource(("eth0",), Engine(open_tap=open_tap)) as source:
        wire.send(*frames(3 * BATCH_PACKETS))
        time.sleep(0.3)
        wire.sensor.ip("link del eth0")
        found = [packet.data for packet in drain(source)]
        assert source.interfaces == ()
        assert found == frames(3 * BATCH_PACKETS)


@needs_root
@pytest.mark.parametrize("is_screened", [False, True])
@pytest.mark.parametrize("interfaces", [("eth0",), ("eth0", "eth1")])
def test_until_when_all_was_read_is_said_also_while_more_waits_than_a_batch(
    interfaces: tuple[str, ...], is_screened: bool, wire: Wire
) -> None:
    screen = make_screen() if is_screened else None
    if screen is not None:
        screen.follow([], ["example.net"])
        screen.ask = is_always
    wire.network.cable(wire.sensor, "eth1", wire.sender, "eth1")
    with LiveSource(interfaces, Engine(open_tap=RingTap), screen=screen) as source:
        wire.send(*(ask(0, "www.example.org", ident=number).data for number in range(3 * BATCH_PACKETS)))
        wire.send(frames(1)[0])
        time.sleep(0.3)
        found = source.read(0) or []
        read_ns = [source.read_ns]
        while not found or found[-1].data != frames(1)[0]:
            found = source.read(0) or []
            read_ns.append(source.read_ns)
        assert all(until_ns < found[-1].ts_ns for until_ns in read_ns[:-1])
        assert len(read_ns) > 1 or (is_screened and len(interfaces) == 1)
        before_ns = time.time_ns()
        assert source.read(0) == []
        assert before_ns <= source.read_ns + LAG_NS <= time.time_ns()
