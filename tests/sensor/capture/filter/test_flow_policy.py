"""One policy three times: in the kernel, over a file and in Python, on random sequences of packets."""

import struct
from collections.abc import Callable, Sequence
from random import Random

import pytest
from frames import ACK, CLIENT, FIN, PSH, RESOLVER, RST, SERVER, SYN, S, dns_query, frame, packet, tcp, udp
from head_policy import HeadPolicy
from hypothesis import given
from hypothesis import strategies as st
from kernel_run import KernelRun
from msgspec.structs import replace
from netns import needs_root

from sensor.capture.filter.flow_table import make_table
from sensor.capture.filter.limits import Limits
from sensor.capture.live.ring import take
from sensor.capture.offline import heads
from sensor.capture.offline.layout import Layout
from sensor.packet import LinkType, Packet

Ends = tuple[str, int, str, int]
LIMITS = Limits(flows=4096, tcp_passed_octets=5600)  # which four segments of 1400 reach
HOUR_NS = 3600 * S
CLIENT_V6, SERVER_V6 = "2001:db8::2", "2001:db8::10"
ENDS = [
    (CLIENT, 40000, SERVER, 443),
    (SERVER, 443, CLIENT, 40000),
    (CLIENT, 443, CLIENT, 443),  # of one host with itself
    (CLIENT, 40001, RESOLVER, 53),
    (CLIENT_V6, 40000, SERVER_V6, 443),
    (SERVER_V6, 443, CLIENT_V6, 40000),
]
TAGS = [
    b"",
    b"",
    b"",
    b"\x81\x00\x00\x0a",
    b"\x88\xa8\x00\x14\x81\x00\x00\x0a",
    b"\x91\x00\x00\x01" * 4,
    b"\x81\x00\x00\x01" * 5,
]
FLAGS = [ACK, ACK, ACK, ACK | PSH, SYN, SYN | ACK, FIN | ACK, RST, SYN | FIN]
SEQUENCES = [0, 999, 1000, 1001, 2400, 5095, 5096, 5097, 2**31, 2**32 - 3096, 2**32 - 1]
EXTENSIONS = [0, 43, 44, 51, 60]
ANSWERS = [struct.pack(">6H", 1, 0x8580, 1, records, 1, 0) + bytes(20) for records in (2, 0x3FE, 0x400, 0x600)]
PAYLOADS = [b"\x40", b"\xc3", b"\xff", dns_query("example.com"), *ANSWERS]
UNREACHABLE, ECHO = 3, 8
UDP, FRAGMENT = 17, 44

PAYLOAD_OCTETS = [0, 1, 16, 17, 100, 512, 1200, 1400, 2800]
PAUSES_NS = [0, 0, 0, 0, 0, 0, 1, S, 299 * S, 300 * S, 301 * S, HOUR_NS, HOUR_NS + 1, -S, -60 * S, -61 * S]
PACKETS = 120


def segment(chance: Random, ends: Ends) -> bytes:
    numbers = chance.choice(SEQUENCES) + chance.choice((0, 0, 1400)), 1, chance.choice(FLAGS)
    return tcp(0, ends, numbers, bytes(chance.choice(PAYLOAD_OCTETS))).data


def datagram(chance: Random, ends: Ends) -> bytes:
    payload = chance.choice(PAYLOADS).ljust(chance.choice(PAYLOAD_OCTETS), b"\xff")
    data = bytearray(udp(0, ends, payload if chance.randrange(6) else b"").data)
    if chance.randrange(10) == 0:
        at = 14 + (40 if data[12:14] == b"\x86\xdd" else 20) + 4
        data[at : at + 2] = struct.pack(">H", chance.choice((0, 7, 8, 9, 65535)))
    return bytes(data)


def other(chance: Random, ends: Ends) -> bytes:
    start = bytes((chance.choice((0, 1, UNREACHABLE, ECHO)), 1))
    payload = start + bytes(chance.choice((0, 20, 62, 126, 127, 1000)))
    return frame(chance.choice((1, 47, 58, 132)), ends[0], ends[2], payload)


def fragment(chance: Random, ends: Ends) -> bytes:
    src, _, dst, _ = ends
    offset, more = chance.choice((0, 8, 1480, 4088, 4096, 65528)), chance.randrange(2)
    if ":" in src:
        header = struct.pack(">BBHI", UDP, 0, offset | more, 7)
        return frame(FRAGMENT, src, dst, header + struct.pack(">HHHH", 40000, 443, 108, 0) + bytes(100))
    whole = frame(UDP, src, dst, struct.pack(">HHHH", 40000, 443, 108, 0) + bytes(100))
    return whole[:20] + struct.pack(">H", more << 13 | offset >> 3) + whole[22:]


def any_frame(chance: Random, flows: list[Ends], kinds: Sequence[Callable[[Random, Ends], bytes]]) -> bytes:
    data = chance.choice(kinds)(chance, chance.choice(flows))
    if data[12:14] == b"\x86\xdd":
        data = with_extensions(data, chance.choices(EXTENSIONS, k=chance.choice((0, 0, 0, 1, 2, 8, 9))))
    elif chance.randrange(10) == 0:
        data = with_options(data)
    if chance.randrange(10) == 0:
        return in_pppoe(data)
    data = data[:12] + chance.choice(TAGS) + data[12:]
    if chance.randrange(10) == 0:
        data = damaged(data, chance.randrange(12, min(len(data), 100)), chance.randrange(257))
    return data


def sequence(seed: int, pauses_ns: list[int]) -> list[Packet]:
    """Packets of few flows, so that each spends what it may; a flow's two directions, and perhaps a third end."""
    chance = Random(seed)
    kinds = chance.choice(([segment], [datagram], [other], [segment, datagram, other, fragment]))
    first = chance.choice(ENDS)
    flows = [first, (*first[2:], *first[:2]), chance.choice(ENDS)]
    now_ns, rows = 100 * HOUR_NS, []
    for _ in range(PACKETS):
        now_ns += chance.choice(pauses_ns)
        rows.append(packet(now_ns, any_frame(chance, flows, kinds)))
    return rows


def with_extensions(data: bytes, kinds: list[int]) -> bytes:
    chain, nexts = b"", [*kinds, data[20]]
    for kind, following in zip(kinds, nexts[1:], strict=True):
        chain += struct.pack(">BB", following, {FRAGMENT: 0, 51: 2}.get(kind, 0)) + bytes(14 if kind == 51 else 6)
    length = struct.pack(">H", len(data) - 54 + len(chain))
    return data[:18] + length + bytes(nexts[:1]) + data[21:54] + chain + data[54:]


def with_options(data: bytes) -> bytes:
    (total,) = struct.unpack_from(">H", data, 16)
    return data[:14] + b"\x46" + data[15:16] + struct.pack(">H", total + 4) + data[18:34] + b"\1\1\1\0" + data[34:]


def in_pppoe(data: bytes) -> bytes:
    protocol = b"\x00\x57" if data[12:14] == b"\x86\xdd" else b"\x00\x21"
    return data[:12] + b"\x88\x64\x11\x00\x00\x01" + struct.pack(">H", len(data) - 12) + protocol + data[14:]


def damaged(data: bytes, at: int, value: int) -> bytes:
    return data[:at] if value == 256 else data[:at] + bytes((value,)) + data[at + 1 :]


def over_a_file(rows: list[Packet]) -> list[Packet]:
    records = [struct.pack("<IIII", *divmod(row.ts_ns, S), len(row.data), row.wire_octets) + row.data for row in rows]
    content = b"".join(records)
    table, at, is_back = make_table(LIMITS), 0, True
    layout = Layout(16, is_block=False, is_swapped=False, base=S, multiplier=1)
    found: list[Packet] = []
    while is_back:  # the clock went back: the walk goes on when it is called again
        bounds = len(rows), len(rows)
        at, *_, is_back = heads.walk(table, content, at, len(content), found, [], Packet, *bounds, layout)
    return found


def in_a_ring(rows: list[Packet], link_type: LinkType) -> list[Packet]:
    records = [
        struct.pack("@6IH", 28 + len(row.data), *divmod(row.ts_ns, S), len(row.data), row.wire_octets, 0, 28)[:26]
        + bytes(2)
        + row.data
        for row in rows
    ]
    found: list[Packet] = []
    content = b"".join(records)
    at, taken = take(content, 0, len(rows), len(rows), found, Packet, link_type, "eth0", make_table(LIMITS), 7, [])
    assert (at, taken) == (len(content), len(rows))
    return found


def in_python(rows: list[Packet]) -> list[int | None]:
    policy = HeadPolicy(LIMITS)
    return [policy.octets(row.ts_ns, row.data, row.wire_octets) for row in rows]


def heads_of(rows: list[Packet], octets: list[int | None]) -> list[Packet]:
    return [
        Packet(row.ts_ns, row.link_type, row.data[:kept], row.wire_octets)
        for row, kept in zip(rows, octets, strict=True)
        if kept != 0
    ]


@pytest.mark.skipif(not heads.IS_COMPILED, reason="there was no compiler at install")
@given(st.integers(0, 2**32))
def test_over_a_file_the_policy_is_that_in_python(seed: int) -> None:
    for pauses_ns in ([0], PAUSES_NS):
        rows = sequence(seed, pauses_ns)
        assert over_a_file(rows) == heads_of(rows, in_python(rows))


@pytest.mark.skipif(not heads.IS_COMPILED, reason="there was no compiler at install")
@given(st.integers(0, 2**32))
def test_over_a_ring_the_policy_is_that_in_python(seed: int) -> None:
    for pauses_ns in ([0], PAUSES_NS):
        rows = sequence(seed, pauses_ns)
        found = in_a_ring(rows, LinkType.ETHERNET)
        assert {row.interface for row in found} <= {"eth0"}
        assert [replace(row, interface="") for row in found] == heads_of(rows, in_python(rows))


@needs_root
@given(st.integers(0, 2**32))
def test_in_the_kernel_the_policy_is_that_in_python(seed: int) -> None:
    rows = sequence(seed, [0])
    with KernelRun(LIMITS) as kernel:
        passed = [min(len(row.data), kernel.octets(row.data)[0]) for row in rows]
    assert passed == [octets or 0 for octets in in_python(rows)]
