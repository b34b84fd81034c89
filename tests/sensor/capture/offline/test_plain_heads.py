"""What is picked without the compiled part, held equal to the policy written naively, in every flavour of pcap."""

import io
import random
import struct
from collections import Counter
from dataclasses import dataclass, field

from frames import ACK, CLIENT, FIN, RST, SERVER, SYN, S, tcp, udp
from hypothesis import given
from hypothesis import strategies as st

from sensor.capture.offline.chunks import ChunkReader
from sensor.capture.offline.pcap import format_of
from sensor.capture.offline.plain_heads import PlainHeads
from sensor.flows.flow import Flow, reverse_key
from sensor.flows.reassembly import HEAD_OCTETS
from sensor.packet import Packet

ENDS = [
    *((CLIENT, 40000, SERVER, 443), (SERVER, 443, CLIENT, 40000), (CLIENT, 40001, SERVER, 53)),
    *(("2001:db8::2", 40000, "2001:db8::1", 443), ("2001:db8::1", 443, "2001:db8::2", 40000)),
]
FLAVOURS = [
    (order, magic, extra)
    for order in "<>"
    for magic, extra in ((0xA1B2C3D4, b""), (0xA1B23C4D, b""), (0xA1B2CD34, bytes(8)))
]
Picked = tuple[list[Packet], Counter[bytes], Counter[bytes]]


@dataclass
class Policy:
    """A direction's first 4,096 octets are heads, and whatever is no plain TCP segment."""

    sent: dict[bytes, int] = field(default_factory=dict)
    heads: list[Packet] = field(default_factory=list)
    packets: Counter[bytes] = field(default_factory=Counter)
    octets: Counter[bytes] = field(default_factory=Counter)

    def take(self, row: Packet) -> None:
        segment = read_segment(row.data)
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


def read_segment(data: bytes) -> tuple[bytes, int, int] | None:
    """Return key, flags and octets of payload of a plain segment, None of all else."""
    rest = data[16:] if data[12:14] == b"\x81\x00" else data[12:]
    if rest[:3] == b"\x08\x00\x45" and len(rest) >= 36 and rest[11] == 6 and not int.from_bytes(rest[8:10]) & 0xBFFF:
        key, offset, flags, octets = rest[14:26], rest[34], rest[35], int.from_bytes(rest[4:6]) - 20
    elif rest[:3] == b"\x86\xdd\x60" and len(rest) >= 56 and rest[8] == 6:
        key, offset, flags, octets = rest[10:46], rest[54], rest[55], int.from_bytes(rest[6:8])
    else:
        return None
    return key, flags, octets - (offset >> 4) * 4


def made(chance: random.Random, ts_ns: int) -> Packet:
    """Return mostly bulk and acknowledgements; some tagged, cut by a snap length, or damaged."""
    ends = chance.choice(ENDS)
    flags = chance.choice((ACK,) * 40 + (SYN, FIN | ACK, RST))
    payload = bytes(chance.choice((0, 0, 1, 700, 1400, 1400)))
    row = tcp(ts_ns, ends, (1, 1, flags), payload) if chance.random() < 0.95 else udp(ts_ns, ends, payload)
    data = bytearray(row.data)
    if chance.random() < 0.3:
        data[12:12] = chance.choice((b"\x81\x00\x00\x07", b"\x88\xa8\x00\x07"))
    if chance.random() < 0.1:
        data[chance.randrange(12, min(60, len(data)))] = chance.choice((0, 1, 5, 6, 0x20, 0x45, 0x46, 0x60, 0x80))
    wire_octets = len(data)
    if chance.random() < 0.1:
        del data[chance.randrange(90) :]
    return Packet(ts_ns, row.link_type, bytes(data), wire_octets)


def pick(packets: list[Packet], order: str, magic: int, extra: bytes) -> Picked:
    """Return the heads that are picked of a file with `packets`, and packets and octets counted by direction."""
    header = struct.pack(f"{order}IHHiIII", magic, 2, 4, 0, 0, 262144, 1)
    file_format = format_of(header[:4])
    assert file_format is not None
    content = bytearray(header)
    for row in packets:
        seconds, rest_ns = divmod(row.ts_ns, S)
        fields = (seconds, rest_ns // file_format.fraction_ns, len(row.data), row.wire_octets)
        content += struct.pack(f"{order}IIII", *fields) + extra + row.data
    chunks = ChunkReader(io.BytesIO(content))
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
    for segment in filter(None, (read_segment(row.data) for row in packets)):
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
def test_what_is_picked_and_counted_is_what_the_policy_says(seed: int, flavour: tuple[str, int, bytes]) -> None:
    chance = random.Random(seed)
    packets = [made(chance, 1_700_000_000 * S + number * 10_000_000) for number in range(400)]
    policy = Policy()
    for row in packets:
        policy.take(row)
    heads, counted, octets = pick(packets, *flavour)
    assert heads == policy.heads
    assert of_flows(counted) == of_flows(policy.packets)
    assert +octets == +policy.octets
