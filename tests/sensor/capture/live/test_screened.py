"""What a live source hands out and holds back, with each screen."""

import time
from collections.abc import Iterator

import pytest
from cable import Wire, open_wire, send_frames
from frames import CLIENT, SERVER, Conversation, told
from netns import needs_root
from screened import (
    CLIENT_OCTETS,
    LISTED,
    SERVER_OCTETS,
    greeting,
    hello,
    is_listed,
    new_screen,
    nothing,
)

from sensor.capture.filter.flow_heads import FlowHeads
from sensor.capture.filter.limits import Limits
from sensor.capture.live.engine import open_source
from sensor.capture.live.live import LiveSource
from sensor.capture.live.plain import PlainTap
from sensor.capture.live.ring import RingTap
from sensor.capture.live.sockets import Engine
from sensor.capture.live.tap import TapOpener
from sensor.packet import Packet

pytestmark = [needs_root, pytest.mark.usefixtures("each_screen")]


def received(source: LiveSource, most: int) -> list[Packet]:
    """What comes until there are `most`, or a minute has passed."""
    found: list[Packet] = []
    until_s = time.monotonic() + 60
    while len(found) < most and time.monotonic() < until_s:
        found += source.read(0.3) or []
    return found


@pytest.fixture
def wire() -> Iterator[Wire]:
    with open_wire() as cable:
        cable.network.cable(cable.sensor, "eth1", cable.sender, "eth1")
        yield cable


def test_a_tunnel_is_handed_out_at_once_and_nothing_else(wire: Wire) -> None:
    screen = new_screen()
    screen.ask = is_listed
    dull, tunnel = [*told("www.example.org"), *greeting("other.example.org")], told(LISTED)
    with open_source(["eth0"], Limits(flows=1024), screen=screen) as source:
        wire.send(*(row.data for row in [*dull, *tunnel]))
        found: list[Packet] = []
        until_s = time.monotonic() + 60
        while len(found) < len(tunnel) and time.monotonic() < until_s:
            found += source.read(0.2) or []
        assert [row.data for row in found] == [row.data for row in tunnel]
        counters = source.counters()
        assert counters.packets == len(tunnel)
        assert counters.filtered_packets >= len(dull)


def test_what_was_held_comes_before_what_is_newer_and_is_told_apart(wire: Wire) -> None:
    screen = new_screen()
    packets = Conversation().open()
    with open_source(["eth0"], Limits(flows=1024), screen=screen) as source:
        screen.ask = is_listed
        wire.send(*(row.data for row in packets))
        assert source.read(0.5) == []
        until_s = time.monotonic() + 60
        screen.mark(CLIENT_OCTETS, SERVER_OCTETS)  # so they go on in three seconds, alone
        while not (held := source.read(0.1) or []) and time.monotonic() < until_s:
            pass
        assert [row.data for row in held] == [row.data for row in packets]
        assert source.late == len(held)
        wire.send(*(row.data for row in told(LISTED)))
        assert source.read(1)
        assert source.late == 0


@pytest.mark.parametrize("open_tap", [PlainTap, RingTap])
def test_of_flows_that_are_handed_out_at_the_same_time_every_packet_comes(open_tap: TapOpener, wire: Wire) -> None:
    screen = new_screen()
    screen.ask = is_listed
    talks = [Conversation((CLIENT, 40_000 + number, SERVER, 443)) for number in range(20)]
    packets = [row for rows in zip(*(talk.open() for talk in talks), strict=True) for row in rows]
    packets += [talk.send(hello(LISTED))[0] for talk in talks]
    with LiveSource(("eth0",), Engine("test", "", FlowHeads(Limits(flows=1024)), open_tap), screen=screen) as source:
        wire.send(*(row.data for row in packets))
        found: list[Packet] = []
        until_s = time.monotonic() + 60
        while len(found) < len(packets) and time.monotonic() < until_s:
            found += source.read(0.3) or []
    assert sorted(row.data for row in found) == sorted(row.data for row in packets)


def test_what_is_held_is_handed_out_when_a_second_interface_comes(wire: Wire) -> None:
    screen = new_screen()
    talk = Conversation()
    packets = [*talk.open(), *talk.send(hello(is_split=True))[:1]]
    with open_source(["eth0"], Limits(flows=1024), screen=screen) as source:
        screen.ask = nothing
        wire.send(*(row.data for row in packets))
        assert source.read(0.5) == []
        source.listen_on(["eth0", "eth1"])
        found = source.read(0.5) or []
        assert [row.data for row in found] == [row.data for row in packets]
        assert source.late == len(packets)  # so their age is not taken for the sensor being behind


def test_packets_of_several_interfaces_are_held_back_too_and_handed_out_with_their_own(wire: Wire) -> None:
    screen = new_screen()
    screen.ask = is_listed
    talk = Conversation()
    packets = [*talk.open(), *talk.send(hello(LISTED))]
    with open_source(["eth0", "eth1"], Limits(flows=1024), screen=screen) as source:
        dull = told("www.example.org")
        wire.send(*(row.data for row in dull))
        wire.sender.call(send_frames, "eth1", tuple(row.data for row in packets))
        found: list[Packet] = []
        until_s = time.monotonic() + 60
        while len(found) < len(packets) and time.monotonic() < until_s:
            found += source.read(0.3) or []
        assert [(row.interface, row.data) for row in found] == [("eth1", row.data) for row in packets]
        assert source.counters().filtered_packets >= len(dull)
