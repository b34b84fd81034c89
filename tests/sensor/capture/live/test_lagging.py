"""An interface on which more waits than a read takes, beside one that is current."""

import time
from collections.abc import Iterator

import pytest
from cable import Wire, drain, open_wire, send_frames
from frames import ACK, CLIENT, SERVER, SYN, tcp, told
from netns import needs_root

from rules.values.observation import FlowState
from sensor.capture.live.live import BATCH_PACKETS, LiveSource
from sensor.capture.live.plain import PlainTap
from sensor.capture.live.ring import RingTap
from sensor.capture.live.sockets import Engine
from sensor.capture.live.tap import TapOpener
from sensor.flows.flow import SETTLE_NS
from sensor.pipeline import Pipeline

pytestmark = needs_root

NAME = "www.example.net"
UP, DOWN = (CLIENT, 40000, SERVER, 443), (SERVER, 443, CLIENT, 40000)
OTHER = ("10.0.0.9", 40000, "192.0.2.10", 443)
THIRD = ("10.0.0.8", 40000, "192.0.2.10", 443)


@pytest.fixture
def wire() -> Iterator[Wire]:
    with open_wire() as cable:
        cable.network.cable(cable.sensor, "eth1", cable.sender, "eth1")
        yield cable


def bulk(count: int) -> list[bytes]:
    return [tcp(0, OTHER, (1400 * number, 1, ACK), bytes(1400)).data for number in range(count)]


@pytest.mark.parametrize("open_tap", [RingTap, PlainTap])
def test_an_answer_that_lies_unread_is_not_missing(open_tap: TapOpener, wire: Wire) -> None:
    """It came in time, behind more than a batch, before what is read at once of the other interface."""
    opening, answer = tcp(0, UP, (1, 0, SYN)).data, tcp(0, DOWN, (5, 2, SYN | ACK)).data
    pipeline, observations = Pipeline(), []
    with LiveSource(("eth0", "eth1"), Engine(open_tap=open_tap)) as source:
        wire.send(*(packet.data for packet in told(NAME)), opening, *bulk(3 * BATCH_PACKETS), answer)
        time.sleep(SETTLE_NS / 1e9 + 0.5)
        wire.sender.call(send_frames, "eth1", (tcp(0, THIRD, (1, 0, SYN)).data,))
        time.sleep(0.3)
        while batch := source.read(0.3):
            observations += pipeline.feed_batch(batch) + pipeline.advance(source.read_ns)
        assert source.counters().packets == 3 * BATCH_PACKETS + 5
    observations += pipeline.flush()
    states = {row.state for row in observations if row.five_tuple.dst_port == UP[3]}
    assert states == {FlowState.ATTEMPTED}


@pytest.mark.parametrize("open_tap", [RingTap, PlainTap])
def test_what_lies_unread_is_no_copy_of_what_came_later(open_tap: TapOpener, wire: Wire) -> None:
    with LiveSource(("eth0", "eth1"), Engine(open_tap=open_tap)) as source:
        wire.send(*bulk(3 * BATCH_PACKETS))
        time.sleep(0.3)
        wire.sender.call(send_frames, "eth1", tuple(bulk(1)))
        time.sleep(0.3)
        found = drain(source)
        assert [packet.data for packet in found] == bulk(3 * BATCH_PACKETS)
        assert {packet.interface for packet in found} == {"eth0"}
        assert source.counters().copies == 1
