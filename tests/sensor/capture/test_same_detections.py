"""Live and offline say the same of the same packets: every recorded agent is sent over a cable and captured."""

import struct
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache, partial
from pathlib import Path

import pytest
from cable import Wire, drain_counted, open_wire
from frames import S, read_packets
from mix import write_mix
from netns import needs_root
from observations import NOW_NS
from recordings import CAPTURES, recording_names

from rules.catalogue.catalogue import load_catalogue
from rules.policy.reader import parse_policy
from rules.policy.ruleset import Ruleset
from rules.values.event import Origin, make_event, to_document
from sensor.capture.filter.flow_heads import FlowHeads
from sensor.capture.filter.limits import Limits
from sensor.capture.filter.packet_filter import NOTHING_CUT, EveryIpPacket, PacketFilter
from sensor.capture.filter.program_heads import ProgramHeads
from sensor.capture.live.live import LiveSource
from sensor.capture.live.plain import IS_COMPILED, PlainTap
from sensor.capture.live.ring import RingTap, take
from sensor.capture.live.sockets import Engine
from sensor.capture.live.tap import TapOpener
from sensor.detection.detect import Detector
from sensor.detection.detection import Detection
from sensor.detection.watch import Watch
from sensor.flows.flow import Count
from sensor.packet import LinkType, Packet
from sensor.pipeline import Pipeline

pytestmark = needs_root

POLICY = '[[sanctioned]]\ndomain = "tunnels.example.com"\nservice = "ngrok"\nowner = "o"\nreason = "r"\n'
Document = dict[str, object]
LIMITS = Limits(flows=4096)
ENGINES: dict[str, tuple[Callable[[], PacketFilter], TapOpener]] = {
    "flow-heads-ring": (partial(FlowHeads, LIMITS), RingTap),
    "flow-heads": (partial(FlowHeads, LIMITS), PlainTap),
    "every-packet": (EveryIpPacket, RingTap),
}
if IS_COMPILED:
    ENGINES |= {
        "ring": (partial(ProgramHeads, LIMITS), RingTap),
        "af-packet": (partial(ProgramHeads, LIMITS), PlainTap),
    }
AT_ONCE = 4000  # packets that a ring has room for while nobody reads it
RINGS = ("flow-heads-ring", "ring")  # what a sensor listens with, unless there is no memory for it
BEATS = ("ngrok-idle", "ngrok2-idle")
TAGS = (b"\x81\x00", b"\x88\xa8", b"\x91\x00")
STRIPPED = (b"\x81\x00", b"\x88\xa8")  # the kernel takes these off


@lru_cache(maxsize=1)
def ruleset() -> Ruleset:
    catalogue = load_catalogue()
    return Ruleset(catalogue, parse_policy(POLICY, "policy.toml", catalogue, NOW_NS))


@pytest.fixture(scope="module")
def wire() -> Iterator[Wire]:
    with open_wire() as cable:
        yield cable


def recorded(name: str) -> list[Packet]:
    return [row for row in read_packets(str(CAPTURES / f"{name}.pcap")) if row.link_type == LinkType.ETHERNET]


def captured(
    wire: Wire, packets: list[Packet], packet_filter: PacketFilter, open_tap: TapOpener
) -> tuple[list[Packet], list[Document]]:
    """What arrives of `packets`, with the time at which it was recorded, and what is detected in it."""
    arrived: list[Packet] = []
    counts: list[tuple[int, Count]] = []
    with LiveSource(("eth0",), Engine("test", "", packet_filter, open_tap)) as source:
        for at in range(0, len(packets), AT_ONCE):
            wire.send(*(row.data for row in packets[at : at + AT_ONCE]))
            rows, counted = drain_counted(source)
            counts += [(len(arrived) + place, row) for place, row in counted]
            arrived += rows
        assert source.counters().kernel_drops == 0
        sent = iter(packets)
        arrived = [at_its_time(row, sent) for row in arrived]
        return arrived, detections(arrived, Watch(source.count_apart), counts)


def at_its_time(arrived: Packet, sent: Iterator[Packet]) -> Packet:
    """The packet with the time of the next one sent that it is (the head of); order is kept on a cable."""
    for row in sent:
        data = row.data[:12] + row.data[16:] if row.data[12:14] in STRIPPED else row.data
        if data.startswith(arrived.data) and len(data) == arrived.wire_octets:
            return Packet(row.ts_ns, arrived.link_type, arrived.data, arrived.wire_octets)
    raise AssertionError("a packet that was not sent, or out of order")


def without_outer_tag(packet: Packet) -> Packet:
    """The packet with the size that it arrives with."""
    wire_octets = packet.wire_octets - 4 * (packet.data[12:14] in STRIPPED)
    return Packet(packet.ts_ns, packet.link_type, packet.data, wire_octets)


def detections(packets: list[Packet], watch: Watch, counts: Sequence[tuple[int, Count]] = ()) -> list[Document]:
    """The last detection of each flow and transaction, with all that it carried."""
    detector = Detector(Pipeline(), ruleset, watch)
    return documents([*detector.feed_counted(packets, counts), *detector.flush()], watch)


def documents(found: list[Detection], watch: Watch) -> list[Document]:
    """The last of `found` of each flow and transaction, as documents."""
    for _ in range(2):  # what the kernel counted now, of flows recorded long ago, is believed on second sight
        found = [watch.latest(row) for row in found]
    last = {row.observation.key: row for row in found}
    events = (make_event(row.observation, row.verdict, "", Origin("")) for row in last.values())
    rows = (to_document(event, with_aggregates=False) for event in events)
    return sorted(({key: row[key] for key in row.keys() - {"duration_ms"}} for row in rows), key=repr)


@pytest.mark.parametrize("name", recording_names())
@pytest.mark.parametrize(
    "engine", [pytest.param(name, marks=[] if name in RINGS else pytest.mark.full) for name in ENGINES]
)
def test_live_and_offline_agree(wire: Wire, name: str, engine: str) -> None:
    make_filter, open_tap = ENGINES[engine]
    packets = recorded(name)
    if not packets:
        pytest.skip("not an Ethernet capture")
    if name in BEATS and make_filter is not EveryIpPacket:
        pytest.skip("what is cut off is counted when it comes, and here all comes at once: tests/test_live_ingress.py")
    arrived, found = captured(wire, packets, make_filter(), open_tap)
    assert found == detections([without_outer_tag(row) for row in packets], Watch())
    assert len(arrived) <= len(packets)


@pytest.mark.parametrize(
    "engine", [pytest.param(name, marks=[] if name in RINGS else pytest.mark.full) for name in ENGINES]
)
def test_so_they_do_of_a_mix(wire: Wire, engine: str, tmp_path: Path) -> None:
    make_filter, open_tap = ENGINES[engine]
    truth = write_mix(tmp_path / "mix.pcap", 30_000)
    packets = read_packets(str(tmp_path / "mix.pcap"))
    _, found = captured(wire, packets, make_filter(), open_tap)
    assert found == detections([without_outer_tag(row) for row in packets], Watch())
    assert len(found) == len(truth.tunnels) == 200


@pytest.mark.skipif(not IS_COMPILED, reason="there was no compiler at install")
@pytest.mark.parametrize("name", BEATS)
def test_how_an_idle_agent_beats_is_told_from_what_the_program_counts(name: str) -> None:
    packets = recorded(name)
    cut_off = ProgramHeads(LIMITS)
    passed, all_found = as_time_passes(packets, cut_off)
    assert all_found == as_time_passes(packets, None)[1]
    assert passed < len(packets)
    assert any("heartbeat" in repr(row["reasons"]) for row in all_found)


def as_time_passes(packets: list[Packet], heads: ProgramHeads | None) -> tuple[int, list[Document]]:
    """How many of `packets` pass, each read when it comes, and what is detected by then."""
    watch = Watch(partial(heads.count_apart, shows=lambda _socket, _key: True) if heads else None)
    detector = Detector(Pipeline(), ruleset, watch)
    cut_off = heads.cut_off() if heads else NOTHING_CUT
    found: list[Detection] = []
    passed = 0
    for row in packets:
        batch: list[Packet] = []
        take(in_a_ring(row), 0, 1, 1, batch, Packet, LinkType.ETHERNET, "", *cut_off)
        found += detector.feed(batch) + detector.advance(row.ts_ns)
        passed += len(batch)
    return passed, documents(found + detector.flush(), watch)


def in_a_ring(packet: Packet) -> bytes:
    """The packet behind its struct tpacket3_hdr."""
    lengths = (len(packet.data), packet.wire_octets)
    return struct.pack("@6IH2x", 28 + lengths[0], *divmod(packet.ts_ns, S), *lengths, 0, 28) + packet.data
