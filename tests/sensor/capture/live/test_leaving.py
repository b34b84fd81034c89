"""What came to an interface before nobody listened there any more is handed out."""

import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cable import Wire, drain, open_wire, send_frames
from frames import ACK, SYN, tcp
from hellos import hello_message, records, server_name
from netns import needs_root

from sensor.capture.filter.packet_filter import SocketFilter
from sensor.capture.live import live, ring
from sensor.capture.live.live import BATCH_PACKETS, LiveSource
from sensor.capture.live.namespaces import Namespaces
from sensor.capture.live.plain import PlainTap
from sensor.capture.live.ring import RingTap
from sensor.capture.live.sockets import Engine
from sensor.capture.live.tap import Tap, TapOpener
from sensor.capture.screening.choice import make_screen

pytestmark = needs_root

ENDS = ("10.0.0.2", 40000, "192.0.2.10", 443)
RETIRE_MS = 250  # longer than any of these changes takes
SO_LOCK_FILTER = 44  # asm-generic/socket.h
SENT = 3 * BATCH_PACKETS


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> Iterator[Wire]:
    monkeypatch.setattr(ring, "RETIRE_MS", RETIRE_MS)
    with open_wire() as cable:
        yield cable


def frames(count: int, first: int = 0) -> tuple[bytes, ...]:
    return tuple(tcp(0, ENDS, (1400 * number, 1, ACK), bytes(1400)).data for number in range(first, first + count))


def opening(port: int) -> list[bytes]:
    """A connection whose hello is not whole yet."""
    ends = ("10.0.0.3", port, "192.0.2.10", 443)
    hello = records(hello_message(server_name(b"www.example.org")))
    return [tcp(0, ends, (1, 0, SYN)).data, tcp(0, ends, (2, 1, ACK), hello[:-20]).data]


def delete(wire: Wire, _source: LiveSource) -> None:
    wire.sensor.ip("link delete eth0")


def take_down(wire: Wire, _source: LiveSource) -> None:
    wire.sensor.ip("link set eth0 down")


def rename(wire: Wire, _source: LiveSource) -> None:
    wire.sensor.ip("link set eth0 name wan0")


def replace(wire: Wire, _source: LiveSource) -> None:
    wire.sensor.ip("link set eth0 name wan0")
    wire.network.cable(wire.sensor, "eth0", wire.sender, "eth9")


def listen_elsewhere(_wire: Wire, source: LiveSource) -> None:
    source.listen_on(("lo",))


def listen_nowhere(_wire: Wire, source: LiveSource) -> None:
    source.listen_on(())


CHANGES = [delete, take_down, rename, replace, listen_elsewhere, listen_nowhere]


@pytest.mark.parametrize("open_tap", [RingTap, PlainTap])
@pytest.mark.parametrize("change", CHANGES)
def test_what_had_come_before_is_handed_out(
    change: Callable[[Wire, LiveSource], None], open_tap: TapOpener, wire: Wire
) -> None:
    sent = list(frames(SENT))
    with LiveSource(("eth0",), Engine(open_tap=open_tap)) as source:
        wire.send(*sent)
        change(wire, source)
        assert [packet.data for packet in drain(source, 3 * RETIRE_MS / 1000)] == sent
        assert source.kernel_drops() == 0


@pytest.mark.parametrize("open_tap", [RingTap, PlainTap])
def test_it_is_also_where_another_interface_stays(open_tap: TapOpener, wire: Wire) -> None:
    wire.network.cable(wire.sensor, "eth1", wire.sender, "eth1")
    sent = list(frames(SENT))
    with LiveSource(("eth0", "eth1"), Engine(open_tap=open_tap)) as source:
        wire.send(*sent)
        wire.sensor.ip("link delete eth0")
        wire.sender.call(send_frames, "eth1", tuple(opening(1)))
        assert [packet.data for packet in drain(source, 3 * RETIRE_MS / 1000)] == [*sent, *opening(1)]
        assert source.interfaces == ("eth1",)


def test_at_the_end_what_lies_behind_copies_is_read_too(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "REST_S", 0.0)
    wire.network.cable(wire.sensor, "eth1", wire.sender, "eth1")
    sent = frames(4 * BATCH_PACKETS)
    with LiveSource(("eth0", "eth1"), Engine(open_tap=PlainTap)) as source:
        wire.send(*sent)
        wire.sender.call(send_frames, "eth1", (*sent, *opening(1)))
        found = [packet.data for batch in source.read_rest() for packet in batch]
    assert found == [*sent, *opening(1)]


@pytest.mark.parametrize("open_tap", [RingTap, PlainTap])
@pytest.mark.parametrize("change", [delete, take_down, rename])
def test_at_the_end_it_says_where_it_listened_whatever_becomes_of_that(
    change: Callable[[Wire, LiveSource], None], open_tap: TapOpener, wire: Wire
) -> None:
    sent = list(frames(SENT))
    with LiveSource(("eth0",), Engine(open_tap=open_tap)) as source:
        rest = source.read_rest()
        wire.send(*sent)
        found = [*next(rest)]  # nothing comes from now on
        change(wire, source)
        wire.network.cable(wire.sensor, "eth1", wire.sender, "eth1")
        found += [packet for batch in rest for packet in batch]
        assert [packet.data for packet in found] == sent
        assert source.interfaces == ("eth0",)


@pytest.mark.parametrize("open_tap", [RingTap, PlainTap])
def test_what_had_come_in_a_namespace_before_it_was_left_is_handed_out(open_tap: TapOpener, wire: Wire) -> None:
    sent = list(frames(SENT))
    namespaces = Namespaces(wire.sensor.namespace)
    with LiveSource((f"{wire.sensor.namespace}/eth0",), Engine(open_tap=open_tap), namespaces) as source:
        wire.send(*sent)
        source.renew({wire.sensor.namespace})
        assert [packet.data for packet in drain(source, 3 * RETIRE_MS / 1000)] == sent
        wire.send(*frames(1, 7))
        assert [packet.data for packet in drain(source, 3 * RETIRE_MS / 1000)] == list(frames(1, 7))
    namespaces.close()


@pytest.mark.parametrize("open_tap", [RingTap, PlainTap])
@pytest.mark.parametrize("end", [listen_nowhere, lambda _wire, source: source.read_rest()])
def test_a_filter_that_the_kernel_refuses_then_keeps_nobody_from_reading_what_came(
    end: Callable[[Wire, LiveSource], object], open_tap: Callable[[str, SocketFilter], RingTap | PlainTap], wire: Wire
) -> None:
    def open_locked(interface: str, packet_filter: SocketFilter) -> Tap:
        tap = open_tap(interface, packet_filter)
        tap.sock.setsockopt(socket.SOL_SOCKET, SO_LOCK_FILTER, 1)  # no other filter, says socket(7)
        return tap

    sent = list(frames(SENT))
    with LiveSource(("eth0",), Engine(open_tap=open_locked)) as source:
        wire.send(*sent)
        rest = end(wire, source)
        found = [packet for batch in rest for packet in batch] if isinstance(rest, Iterator) else []
        found += drain(source, 3 * RETIRE_MS / 1000)
        assert [packet.data for packet in found] == sent


def test_of_an_interface_that_is_made_again_and_again_one_socket_is_waited_for(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ring, "RETIRE_MS", 5_000)  # nothing leaves in its own time
    times, most = 6, 0
    with LiveSource(("eth0",), Engine(open_tap=RingTap)) as source:
        for _ in range(times):
            wire.sensor.ip("link delete eth0")
            wire.network.cable(wire.sensor, "eth0", wire.sender, "eth0")
            source.listen_on(("eth0",))
            most = max(most, open_sockets())
            source.read(0)
        assert (open_sockets(), most) == (2, 3)
        assert source.counters().sockets_hurried == times - 1
    assert open_sockets() == 0


def open_sockets() -> int:
    """How many packet sockets there are in the network namespace."""
    return len(Path("/proc/thread-self/net/packet").read_text().splitlines()) - 1


@pytest.mark.parametrize("open_tap", [RingTap, PlainTap])
def test_what_comes_later_is_not(open_tap: TapOpener, wire: Wire) -> None:
    with LiveSource(("eth0",), Engine(open_tap=open_tap)) as source:
        wire.send(*frames(1))
        source.listen_on(())
        wire.send(*frames(1, 1))
        assert source.interfaces == ()
        assert [packet.data for packet in drain(source, 3 * RETIRE_MS / 1000)] == list(frames(1))
        assert source.fill() == 0


@pytest.mark.parametrize("interfaces", [("eth0",), ("eth0", "eth1")])
@pytest.mark.parametrize("open_tap", [RingTap, PlainTap])
def test_the_rest_is_all_that_came(open_tap: TapOpener, interfaces: tuple[str, ...], wire: Wire) -> None:
    wire.network.cable(wire.sensor, "eth1", wire.sender, "eth1")
    with LiveSource(interfaces, Engine(open_tap=open_tap)) as source:
        wire.send(*frames(SENT))
        assert [packet.data for batch in source.read_rest() for packet in batch] == list(frames(SENT))
        assert source.counters().packets == SENT


def test_the_rest_is_also_what_was_held_back(wire: Wire) -> None:
    screen = make_screen()
    screen.follow([], ["example.net"])
    with LiveSource(("eth0",), Engine(open_tap=RingTap), screen=screen) as source:
        wire.send(*opening(1), *frames(1))
        assert [packet.data for packet in source.read(2 * RETIRE_MS / 1000) or []] == list(frames(1))
        wire.send(*opening(2))
        assert [packet.data for batch in source.read_rest() for packet in batch] == [*opening(1), *opening(2)]
