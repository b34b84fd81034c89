"""One policy three times: in the kernel, over a file and in Python, on random sequences of packets."""

import struct

import pytest
from frames import ACK, CLIENT, FIN, PSH, RESOLVER, RST, SERVER, SYN, S, dns_query, frame, packet, tcp, udp
from head_policy import HeadPolicy
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_run import MOST_OCTETS, KernelRun
from netns import needs_root

from sensor.capture import heads
from sensor.capture.limits import Limits
from sensor.packet import LinkType, Packet

LIMITS = Limits(flows=4096)
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
TAGS = [b"", b"\x81\x00\x00\x0a", b"\x88\xa8\x00\x14\x81\x00\x00\x0a", b"\x91\x00\x00\x01" * 4, b"\x81\x00\x00\x01" * 5]
FLAGS = [ACK, ACK, ACK, ACK | PSH, SYN, SYN | ACK, FIN | ACK, RST, SYN | FIN]
SEQUENCES = [0, 999, 1000, 1001, 2400, 5095, 5096, 5097, 2**31, 2**32 - 3096, 2**32 - 1]
EXTENSIONS = [0, 43, 44, 51, 60]
PAYLOADS = [b"\x40", b"\xc3", b"\xff", dns_query("example.com"), b"\0\1\x85\x80\0\1\0\2\0\1\0\1" + bytes(20)]
UNREACHABLE, ECHO = 3, 8
TCP, UDP, FRAGMENT = 6, 17, 44

octets_of_payload = st.sampled_from([0, 1, 16, 17, 100, 512, 1200, 1400, 2800])


@st.composite
def segments(draw: st.DrawFn) -> bytes:
    numbers = draw(st.sampled_from(SEQUENCES)) + draw(st.sampled_from([0, 0, 1400])), 1, draw(st.sampled_from(FLAGS))
    return tcp(0, draw(st.sampled_from(ENDS)), numbers, bytes(draw(octets_of_payload))).data


@st.composite
def datagrams(draw: st.DrawFn) -> bytes:
    payload = draw(st.sampled_from(PAYLOADS)).ljust(draw(octets_of_payload), b"\xff")
    data = bytearray(udp(0, draw(st.sampled_from(ENDS)), payload if draw(st.integers(0, 5)) else b"").data)
    if draw(st.integers(0, 9)) == 0:
        at = 14 + (40 if data[12:14] == b"\x86\xdd" else 20) + 4
        data[at : at + 2] = struct.pack(">H", draw(st.sampled_from([0, 7, 8, 9, 65535])))
    return bytes(data)


@st.composite
def others(draw: st.DrawFn) -> bytes:
    src, _, dst, _ = draw(st.sampled_from(ENDS))
    start = bytes((draw(st.sampled_from([0, 1, UNREACHABLE, ECHO])), 1))
    return frame(draw(st.sampled_from([1, 47, 58, 132])), src, dst, start + bytes(draw(octets_of_payload)))


@st.composite
def fragments(draw: st.DrawFn) -> bytes:
    src, _, dst, _ = draw(st.sampled_from(ENDS))
    offset, more = draw(st.sampled_from([0, 8, 1480, 4088, 4096, 65528])), draw(st.integers(0, 1))
    if ":" in src:
        header = struct.pack(">BBHI", UDP, 0, offset | more, 7)
        return frame(FRAGMENT, src, dst, header + struct.pack(">HHHH", 40000, 443, 108, 0) + bytes(100))
    whole = frame(UDP, src, dst, struct.pack(">HHHH", 40000, 443, 108, 0) + bytes(100))
    return whole[:20] + struct.pack(">H", more << 13 | offset >> 3) + whole[22:]


@st.composite
def frames(draw: st.DrawFn) -> bytes:
    data = draw(st.one_of(segments(), segments(), datagrams(), datagrams(), others(), fragments()))
    if data[12:14] == b"\x86\xdd":
        data = with_extensions(data, draw(st.lists(st.sampled_from(EXTENSIONS), max_size=9)))
    elif draw(st.integers(0, 9)) == 0:
        data = with_options(data)
    if draw(st.integers(0, 9)) == 0:
        return in_pppoe(data)
    tags = draw(st.sampled_from(TAGS)) if draw(st.booleans()) else b""
    data = data[:12] + tags + data[12:]
    if draw(st.integers(0, 9)) == 0:
        data = damaged(data, draw(st.integers(12, len(data) - 1)), draw(st.integers(0, 256)))
    return data[:MOST_OCTETS]


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
    table, found, at, is_back = heads.make_table(LIMITS), [], 0, True
    while is_back:  # the clock went back: the walk goes on when it is called again
        some, at, *_, is_back = heads.walk(table, content, at, len(content), len(rows), 16, 1, False)
        found += some
    return [Packet(ts_ns, LinkType.ETHERNET, data, wire) for ts_ns, data, wire in found]


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
@given(st.lists(st.tuples(frames(), st.sampled_from([0, 1, S, 299 * S, 301 * S, HOUR_NS + S, -S, -61 * S]))))
def test_over_a_file_the_policy_is_that_in_python(sequence: list[tuple[bytes, int]]) -> None:
    now_ns, rows = 100 * HOUR_NS, []
    for data, pause_ns in sequence:
        now_ns += pause_ns
        rows.append(packet(now_ns, data))
    assert over_a_file(rows) == heads_of(rows, in_python(rows))


@needs_root
@settings(deadline=None)
@given(sequence=st.lists(frames(), min_size=1, max_size=60))
def test_in_the_kernel_the_policy_is_that_in_python(sequence: list[bytes]) -> None:
    rows = [packet(S, data) for data in sequence]
    with KernelRun(LIMITS) as kernel:
        passed = [min(len(row.data), kernel.octets(row.data)[0]) for row in rows]
    assert passed == [octets or 0 for octets in in_python(rows)]
