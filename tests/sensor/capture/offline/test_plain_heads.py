"""What is picked without the compiled part, held equal to the policy written naively, in every flavour of pcap."""

import io
import random
import struct
from collections import Counter
from dataclasses import dataclass, field

import pytest
from conversations import SERVER_HELLO
from frames import ACK, FIN, RST, SYN, Conversation, S
from hypothesis import given
from hypothesis import strategies as st
from screened import LISTED, hello, is_listed
from segments import FLAVOURS, Flavour, made, read_segment, written

from sensor.capture.offline import bursts
from sensor.capture.offline.chunks import ChunkReader
from sensor.capture.offline.plain_heads import PlainHeads
from sensor.capture.screening.plain import PlainScreen
from sensor.flows.flow import Flow, reverse_key
from sensor.flows.reassembly import HEAD_OCTETS
from sensor.packet import Packet

Picked = tuple[list[Packet], Counter[bytes], Counter[bytes]]


@dataclass
class Policy:
    """A direction's first 4,096 octets are heads, and whatever is no plain TCP segment."""

    sent: dict[bytes, int] = field(default_factory=dict)
    heads: list[Packet] = field(default_factory=list)
    packets: Counter[bytes] = field(default_factory=Counter)
    octets: Counter[bytes] = field(default_factory=Counter)

    def take(self, row: Packet) -> None:
        segment = read_segment(row)
        if segment is None or self.is_head(*segment):
            self.heads.append(row)
        else:
            self.packets[segment[0]] += 1
            self.octets[segment[0]] += row.wire_octets

    def is_head(self, key: bytes, flags: int, payload_octets: int) -> bool:
        if flags & (SYN | FIN | RST):
            for each in (key, reverse_key(key)) if flags & SYN else ():
                self.sent.pop(each, None)
            return True
        if self.sent.get(key, 0) >= HEAD_OCTETS or (payload_octets == 0 and key in self.sent):
            return False
        is_dns = not {53, 5353, 5355}.isdisjoint(struct.unpack(">HH", key[-4:]))
        if payload_octets > 0 and (key in self.sent or not is_dns):
            self.sent[key] = self.sent.get(key, 0) + payload_octets
        return True


def pick(packets: list[Packet], flavour: Flavour) -> Picked:
    """Return the heads that are picked of a file with `packets`, and packets and octets counted by direction."""
    content, file_format = written(packets, flavour)
    chunks = ChunkReader(io.BytesIO(content))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bursts, "FIRST_SAMPLE", 1)  # so that half of the file is taken in bursts
        source = PlainHeads(chunks, chunks.read() + chunks.read(), file_format)
    heads: list[Packet] = []
    counted, octets = Counter[bytes](), Counter[bytes]()
    while (batch := source.read()) is not None:
        heads += batch
        for _, count in source.counts:
            counted[count.key] += count.packets
            octets[count.key] += count.octets_0
    assert source.last_ns == packets[-1].ts_ns
    assert source.passed_over == len(packets) - len(heads)
    for segment in filter(None, (read_segment(row) for row in packets)):
        flow = Flow(segment[0], 0, 0, None)
        source.count_apart(flow)
        counted[flow.key] += flow.packets  # of both directions
        octets[flow.key] += flow.octets_0
        octets[reverse_key(flow.key)] += flow.octets_1
    return heads, counted, octets


def of_flows(counted: Counter[bytes]) -> Counter[bytes]:
    """Return the sums of both directions."""
    sums = Counter[bytes]()
    for key, number in counted.items():
        sums[min(key, reverse_key(key))] += number
    return +sums


@given(st.integers(0, 2**32), st.sampled_from(FLAVOURS))
def test_what_is_picked_and_counted_is_what_the_policy_says(seed: int, flavour: Flavour) -> None:
    chance = random.Random(seed)
    packets = [made(chance, 1_700_000_000 * S + number * 10_000_000) for number in range(400)]
    policy = Policy()
    for row in packets:
        policy.take(row)
    heads, counted, octets = pick(packets, flavour)
    assert heads == policy.heads
    assert of_flows(counted) == of_flows(policy.packets)
    assert +octets == +policy.octets


def test_what_the_screen_passed_over_is_passed_over_in_bursts_until_another_connection_begins() -> None:
    screen = PlainScreen()
    screen.ask = is_listed
    screen.follow([], [LISTED])
    dull = Conversation(start_ns=2 * S)
    rows = [*dull.open(), *dull.send(hello()), *dull.answer(SERVER_HELLO)]
    rows += [row for _ in range(600) for row in (*dull.answer(bytes(1400)), dull.segment(ACK))]
    later = Conversation(start_ns=rows[-1].ts_ns + S, isn=700_000)
    listed = [*later.open(), *later.send(hello(LISTED)), *later.answer(SERVER_HELLO)]
    content, file_format = written([*rows, *listed, *later.answer(bytes(1400))], FLAVOURS[0])
    chunks = ChunkReader(io.BytesIO(content))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bursts, "FIRST_SAMPLE", 1)
        source = PlainHeads(chunks, chunks.read() + chunks.read(), file_format, screen)
    heads = [row for batch in iter(source.read, None) for row in batch]
    assert [row.data for row in heads][: len(listed)] == [row.data for row in listed]
    assert source.passed_over == len(rows)
    assert screen.totals().packets < len(rows) / 2  # the rest never came to the screen
