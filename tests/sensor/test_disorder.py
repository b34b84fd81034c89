"""Splitting, reordering, copying and another speed change nothing that a verdict rests on."""

import random
from functools import cache

import msgspec
import pytest
from frames import last_revisions, read_packets, replay, tcp
from hypothesis import given, settings
from hypothesis import strategies as st
from recordings import CAPTURES

from rules.values.event import address_text
from rules.values.observation import Evidence, FiveTuple, Indicator
from sensor.decode import Segment, decode
from sensor.packet import Packet

NAMES = ["ngrok-py-sanctioned", "ngrok2-httpproxy", "ngrok2-default", "ssh-serveo", "benign-dns-udp-tcp", "localtunnel"]

Facts = set[tuple[FiveTuple, frozenset[Indicator]]]


@cache
def packets_of(name: str) -> list[Packet]:
    return read_packets(str(CAPTURES / f"{name}.pcap"))


def facts(packets: list[Packet]) -> Facts:
    found = [row for row in last_revisions(replay(packets)) if row.indicators]
    return {(row.five_tuple, frozenset(row.indicators)) for row in found}


@cache
def undisturbed(name: str) -> Facts:
    return facts(packets_of(name))


def split(packet: Packet, rng: random.Random) -> list[Packet]:
    """The packet, or two that carry what it carried; they may overlap."""
    segment = decode(packet)
    if not isinstance(segment, Segment) or len(segment.payload) < 2 or segment.flags & 0x07 or rng.random() < 0.5:
        return [packet]
    cut = rng.randrange(1, len(segment.payload))
    overlap = rng.choice([0, 0, 5])
    src, src_port, dst, dst_port = segment.ends
    ends = (address_text(src), src_port, address_text(dst), dst_port)
    first = tcp(packet.ts_ns, ends, (segment.seq, segment.ack, segment.flags), segment.payload[: cut + overlap])
    second = tcp(packet.ts_ns, ends, (segment.seq + cut, segment.ack, segment.flags), segment.payload[cut:])
    return [first, second]


def disturb(packets: list[Packet], rng: random.Random, reach: int) -> list[Packet]:
    """The packets with TCP segments split, copied, and moved by at most `reach` places; times stay in order."""
    pieces = [piece for packet in packets for piece in split(packet, rng)]
    pieces = [copy for piece in pieces for copy in [piece] * (1 + (is_segment(piece) and rng.random() < 0.2))]
    places = [place + (rng.random() * reach if is_segment(piece) else 0) for place, piece in enumerate(pieces)]
    moved = [pieces[place] for place in sorted(range(len(pieces)), key=lambda place: places[place])]
    return [msgspec.structs.replace(piece, ts_ns=before.ts_ns) for piece, before in zip(moved, pieces, strict=True)]


def is_segment(packet: Packet) -> bool:
    return isinstance(decode(packet), Segment)


NEEDS_A_SYN = {Indicator(Evidence.PROTOCOL, "reverse-http")}


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=15)
@given(seed=st.integers(0, 2**32 - 1), reach=st.integers(0, 6))
def test_split_reordered_and_copied_segments(name: str, seed: int, reach: int) -> None:
    assert facts(disturb(packets_of(name), random.Random(seed), reach)) == undisturbed(name)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("times", "divided"), [(0, 1), (1, 100), (3, 1), (1000, 1)])
def test_another_speed(name: str, times: int, divided: int) -> None:
    packets = packets_of(name)
    start = packets[0].ts_ns
    assert (
        facts([msgspec.structs.replace(row, ts_ns=start + (row.ts_ns - start) * times // divided) for row in packets])
        == undisturbed(name)
    )  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_the_middle_of_a_connection_is_enough(name: str) -> None:
    """Without the SYNs, the same indicators are found but for those that rest on who began; what it carries tells."""
    without = [row for row in packets_of(name) if not (isinstance(read := decode(row), Segment) and read.flags & 2)]
    found = {indicators - NEEDS_A_SYN for _, indicators in facts(without)}
    assert found == {indicators - NEEDS_A_SYN for _, indicators in undisturbed(name)}
