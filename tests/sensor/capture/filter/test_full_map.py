"""A flood that overflows the kernel's map of flows hides no tunnel."""

import floods
import pytest
from cable import drain, open_wire
from floods import Clock
from netns import needs_root

from rules.values.observation import Evidence
from sensor.capture.filter.flow_heads import FlowHeads
from sensor.capture.filter.limits import Limits
from sensor.capture.live.live import LiveSource
from sensor.capture.live.ring import RingTap
from sensor.capture.live.sockets import Engine
from sensor.packet import Packet
from sensor.pipeline import Pipeline

pytestmark = needs_root

MAP_FLOWS = 256
SYNS = 10_000
SYN_AT = 47


@pytest.fixture(scope="module")
def arrived() -> tuple[list[Packet], int, int]:
    """What the filter passes of a SYN flood with three tunnels, how many flows it opened, and what it lost."""
    frames = [packet.data for packet in floods.tunnels_around_a_syn_flood(Clock(), SYNS)]
    packets: list[Packet] = []
    with open_wire() as wire:
        heads = FlowHeads(Limits(flows=MAP_FLOWS))
        with LiveSource(("eth0",), Engine("test", "", heads, RingTap)) as source:
            for at in range(0, len(frames), 1000):
                wire.send(*frames[at : at + 1000])
                packets += drain(source, 0.1)
            return packets, source.counters().flows_opened, source.counters().kernel_drops


def test_every_syn_passes_and_the_map_gives_room_to_the_newest(arrived: tuple[list[Packet], int, int]) -> None:
    packets, opened, lost = arrived
    assert lost == 0
    assert len([packet for packet in packets if packet.data[SYN_AT] == 0x02]) == SYNS + 3
    assert opened > SYNS


def test_tunnels_before_within_and_behind_the_flood_are_found(arrived: tuple[list[Packet], int, int]) -> None:
    found = Pipeline().feed_batch(arrived[0])
    hellos = [row for row in found for each in row.indicators if each.evidence is Evidence.TLS_SNI]
    assert len({row.five_tuple for row in hellos}) == 3
    assert {row.indicators[0].value for row in hellos} == {floods.TUNNEL}
