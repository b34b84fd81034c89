"""No frame, however damaged, stops the pipeline; what cannot be is counted by kind."""

import random
from functools import cache
from itertools import islice

import pytest
from frames import read_packets
from recordings import CAPTURES, recording_names

from sensor import errors
from sensor.decoding.link import SUPPORTED_LINK_TYPES
from sensor.packet import Packet
from sensor.pipeline import Limits, Pipeline

SMALL = Limits(flows=200, head_octets=100_000, dns_transactions=100, told_pairs=100, fragmented_datagrams=50)


@cache
def frames() -> list[Packet]:
    found = [packet for name in recording_names() for packet in read_packets(str(CAPTURES / f"{name}.pcap"))]
    random.Random(1).shuffle(found)
    return found


def mutate(packet: Packet, number: int, rng: random.Random) -> Packet:
    data = bytearray(packet.data)
    choice = rng.randrange(6)
    if choice == 0:
        del data[rng.randrange(len(data)) :]
    elif choice == 1:
        at = rng.randrange(len(data))
        data[at:at] = rng.randbytes(rng.randrange(1, 9))
    elif choice == 2:
        start = rng.randrange(len(data))
        data[start : start + rng.randrange(1, 40)] = b""
    for _ in range(rng.choice([0, 1, 1, 2, 8])):
        if data:
            near_the_headers = rng.randrange(min(len(data), rng.choice([60, 100, 2000])))
            data[near_the_headers] = rng.choice([0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)])
    link_type = rng.choice(sorted(SUPPORTED_LINK_TYPES)) if rng.random() < 0.02 else packet.link_type
    wire_octets = len(data) + rng.choice([0, 0, 0, 500])
    return Packet(number * rng.choice([1, 1000, 1_000_000]), link_type, bytes(data), wire_octets)


@pytest.mark.parametrize("examples", [5_000, pytest.param(100_000, marks=pytest.mark.full)])
@pytest.mark.timeout(600)
def test_damaged_frames_are_counted_and_nothing_is_raised(examples: int) -> None:
    rng = random.Random(20)
    pipeline = Pipeline(SMALL)
    for number, packet in enumerate(islice(cycle_frames(), examples)):
        pipeline.feed(mutate(packet, number, rng))
        if not number % 1000:
            pipeline.advance(number * 1_000_000)
    pipeline.flush()
    counters = pipeline.counters
    assert counters.packets == examples
    assert counters.malformed["MalformedPacket"] > examples // 50
    assert all(issubclass(getattr(errors, kind), errors.MalformedInput) for kind in counters.malformed)
    assert counters.truncated
    assert counters.flows_evicted


def cycle_frames() -> list[Packet]:
    return frames() * (100_000 // len(frames()) + 1)


def test_random_octets_over_every_link_type() -> None:
    rng = random.Random(21)
    pipeline = Pipeline(SMALL)
    for number in range(5_000):
        data = rng.randbytes(rng.randrange(120))
        if rng.random() < 0.7:
            data = bytes(12) + rng.choice([b"\x08\x00\x45", b"\x86\xdd\x60", b"\x81\x00\x00\x01\x08\x00\x45"]) + data
        pipeline.feed(Packet(number, rng.choice(sorted(SUPPORTED_LINK_TYPES)), data, len(data)))
    pipeline.flush()
    assert pipeline.counters.packets == 5_000


def test_every_prefix_of_real_frames() -> None:
    pipeline = Pipeline(SMALL)
    for number, packet in enumerate(frames()[:60]):
        for octets in range(min(len(packet.data), 300)):
            pipeline.feed(Packet(number, packet.link_type, packet.data[:octets], octets))
            pipeline.feed(Packet(number, packet.link_type, packet.data[:octets], packet.wire_octets))
    pipeline.flush()
    assert set(pipeline.counters.malformed) <= {"MalformedPacket", "MalformedDns", "MalformedQuic"}
