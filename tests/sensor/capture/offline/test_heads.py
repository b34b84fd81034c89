import random
import socket
import struct
from pathlib import Path
from typing import Any

import msgspec
import pytest
from frames import ACK, CLIENT, FIN, RESOLVER, SERVER, SYN, S, dns_query, frame, tcp, udp
from hellos import hello_message, records, server_name
from hypothesis import given
from hypothesis import strategies as st
from judged import RECORDED, by_policy, capture, mutated
from mix import write_mix
from recordings import CAPTURES, recording_names

import molecatcher.recordings.replay
import sensor.capture.offline.file
from molecatcher.recordings.replay import Replay, Summary
from rules.catalogue.catalogue import load_catalogue
from rules.policy.policy import Policy
from rules.policy.ruleset import Ruleset
from sensor.capture.filter.flow_table import CountRow, make_table
from sensor.capture.filter.limits import Limits
from sensor.capture.offline import heads
from sensor.capture.offline.file import open_capture
from sensor.capture.offline.layout import Layout
from sensor.decoding.decode import Datagram, Segment, decode, read_plain
from sensor.packet import LinkType, Packet

pytestmark = pytest.mark.skipif(not heads.IS_COMPILED, reason="there was no compiler at install")

WEB = (CLIENT, 40000, SERVER, 443)
BACK = (SERVER, 443, CLIENT, 40000)
HELLO = records(hello_message(server_name(b"connect.ngrok-agent.com")))
if heads.IS_COMPILED:
    from sensor.capture.compiled._heads import take
    from sensor.capture.compiled._heads import walk as walk_records


RECORD = Layout(16, is_block=False, is_swapped=False, base=S, multiplier=1)


def walk(packets: list[Packet], flows: int = 1024) -> list[Packet]:
    content, table, at, is_back = capture(packets), make_table(Limits(flows=flows)), 24, True
    rows: list[Packet] = []
    while is_back:
        at, _, _, is_back = take_records(table, content, (at, len(content)), rows, [])
    return rows


def take_records(
    table: bytearray,
    content: bytes,
    window: tuple[int, int],
    rows: list[Packet],
    counts: list[CountRow],
    *,
    layout: Layout = RECORD,
) -> tuple[int, int, int, bool]:
    """Take all records of a window in one walk."""
    return walk_records(table, content, *window, rows, counts, Packet, 1 << 20, 1 << 20, layout)


def passed(packets: list[Packet]) -> list[bool]:
    """Whether each passes; the two policies must agree."""
    rows = walk(packets)
    assert rows == by_policy(packets)
    kept = iter(rows)
    following = next(kept, None)
    answer = []
    for row in packets:
        answer.append(following is not None and is_head_of(following, row))
        if answer[-1]:
            following = next(kept, None)
    return answer


def is_head_of(head: Packet, row: Packet) -> bool:
    return row.data.startswith(head.data) and (row.ts_ns, row.wire_octets) == (head.ts_ns, head.wire_octets)


def replayed(path: str) -> tuple[list[dict[str, object]], Summary]:
    replay = Replay(Ruleset(load_catalogue(), Policy()))
    rows = [msgspec.structs.asdict(event) for event in replay.play(path)]
    return [{key: value for key, value in row.items() if key != "event_id"} for row in rows], replay.summary


def check_same(path: str, monkeypatch: pytest.MonkeyPatch) -> int:
    """Compare what is detected with the compiled part, without it, and when nothing is passed over."""
    compiled = replayed(path)
    monkeypatch.setattr(sensor.capture.offline.file, "IS_COMPILED", False)
    assert replayed(path) == compiled
    monkeypatch.setattr(molecatcher.recordings.replay, "open_capture", lambda path, **_: open_capture(path))
    assert replayed(path) == compiled
    return len(compiled[0])


@pytest.mark.parametrize("name", recording_names())
def test_a_recording_says_the_same_without_the_compiled_part(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    check_same(str(CAPTURES / f"{name}.pcap"), monkeypatch)


def test_the_mix_says_the_same_without_the_compiled_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "mix.pcap"
    truth = write_mix(path, 60_000)
    for is_compiled in (True, False):
        monkeypatch.setattr(sensor.capture.offline.file, "IS_COMPILED", is_compiled)
        with open_capture(str(path), heads_only=True) as source:
            while source.read() is not None:
                pass
            assert source.passed_over > truth.packets // 2
    monkeypatch.setattr(sensor.capture.offline.file, "IS_COMPILED", True)
    assert check_same(str(path), monkeypatch) == len(truth.tunnels) == 200


def stream(ts_ns: int, segments: int, ends: tuple[str, int, str, int] = WEB) -> list[Packet]:
    return [tcp(ts_ns, ends, (1000 + 1400 * number, 1, ACK), bytes(1400)) for number in range(segments)]


def test_the_first_octets_of_each_direction_pass() -> None:
    sent = stream(S, 5) + stream(S, 5, BACK)
    assert passed(sent) == [True, True, True, False, False] * 2


def test_syn_fin_and_the_first_acknowledgements_pass() -> None:
    bulk = stream(S, 4)
    acknowledgement, fin, syn = (tcp(S, WEB, (999, 1, flags), b"") for flags in (ACK, FIN | ACK, SYN))
    assert passed([syn, *[acknowledgement] * 3]) == [True, True, True, False]
    assert passed([*bulk, fin]) == [True, True, True, False, True]
    assert passed([*bulk, syn, *bulk])[4:] == [True, True, True, True, False]


def test_only_the_head_of_a_giant_passes() -> None:
    giant = tcp(S, WEB, (1, 1, ACK), bytes(60_000))
    (head,) = walk([giant])
    assert (head.data, head.wire_octets) == (giant.data[: 54 + 4096], len(giant.data))


def test_dns_passes_on_any_port_and_other_udp_up_to_its_budget() -> None:
    bulk = [udp(S, (CLIENT, 5000, SERVER, 4000), b"\x01" * 1000)] * 3
    asked = [udp(S, (CLIENT, 5000, RESOLVER, port), dns_query("example.com")) for port in (53, 5300)] * 40
    quic = [udp(S, (CLIENT, 5001, SERVER, 443), b"\xc0" * 1200)] * 12
    assert passed(bulk + asked + quic) == [True, True, False] + [True] * 80 + [True] * 10 + [False] * 2


def test_a_pause_and_another_capture_begin_anew() -> None:
    day = 86_400 * S
    assert passed(stream(2 * day, 4) + stream(3 * day, 4) + stream(day, 4)) == [True, True, True, False] * 3


def test_without_the_compiled_part_they_begin_anew_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sensor.capture.offline.file, "IS_COMPILED", False)
    bulk = [tcp(0, WEB, (1, 1, ACK), bytes(1400))] * 4 + [tcp(0, BACK, (1, 1, ACK))] * 2
    syn = [tcp(0, BACK, (1, 1, SYN))]
    turns = [bulk + syn, bulk, bulk, bulk]
    times = [9_000 * S, 9_001 * S, 20_000 * S, 10_000 * S]  # a SYN, a pause, an earlier capture
    rows = [Packet(at, 1, row.data, row.wire_octets) for at, turn in zip(times, turns, strict=True) for row in turn]
    path = tmp_path / "turns.pcap"
    path.write_bytes(capture(rows))
    with open_capture(str(path), heads_only=True) as source:
        passing: list[Packet] = []
        while (batch := source.read()) is not None:
            passing += batch
        assert [row.ts_ns for row in passing] == [
            at for at, n in zip(times, (6, 5, 5, 5), strict=True) for _ in range(n)
        ]
        assert source.passed_over == len(rows) - 21
        assert source.read() is None


def test_only_the_head_of_other_protocols_and_fragmented_datagrams_passes() -> None:
    tunnel = Packet(S, LinkType.ETHERNET, (data := frame(47, CLIENT, SERVER, bytes(100))), len(data))
    assert passed([tunnel] * 4) == [True, True, False, False]
    whole = frame(17, CLIENT, SERVER, bytes(64))
    pieces = [whole[:20] + struct.pack(">H", 0x2000 | at // 8) + whole[22:] for at in (0, 4088, 4096, 8000)]
    assert passed([Packet(S, LinkType.ETHERNET, data, len(data)) for data in pieces]) == [True, True, False, False]


def test_a_full_table_loses_nothing() -> None:
    flows = [[tcp(S, (CLIENT, 1024 + n, SERVER, 443), (1, 1, ACK), bytes(1400))] * 3 for n in range(300)]
    in_turns = [row for turn in zip(*flows, strict=True) for row in turn]
    assert walk(in_turns, flows=8) == in_turns


def test_a_window_outside_the_buffer_is_refused() -> None:
    of_blocks = RECORD._replace(is_block=True, header_octets=27)
    for at, end, layout in (
        *((0, 9, RECORD), (-1, 4, RECORD), (5, 4, RECORD), (0, 8, of_blocks)),
        *((0, 8, RECORD._replace(header_octets=8)), (0, 8, RECORD._replace(divisor=0))),
    ):
        with pytest.raises(ValueError, match="window"):
            take_records(make_table(Limits(flows=8)), bytes(8), (at, end), [], [], layout=layout)
    with pytest.raises(ValueError, match="table"):
        take_records(bytearray(64), bytes(8), (0, 8), [], [])


@given(st.integers(0, 2**32))
def test_damaged_packets_are_judged_as_the_policy_says(seed: int) -> None:
    chance = random.Random(seed)
    rows = [mutated(chance, chance.choice(RECORDED)) for _ in range(60)]
    assert walk(rows) == by_policy(rows)


@given(st.integers(0, 2**32))
def test_damaged_packets_are_read_as_python_reads_them(seed: int) -> None:
    chance = random.Random(seed)
    for row in [mutated(chance, chance.choice(RECORDED)) for _ in range(60)]:
        plain = read_plain(row)
        if plain is not None:
            assert parts(plain) == parts(decode(row))


def test_whole_packets_are_read_without_python() -> None:
    assert all(read_plain(row) is not None for row in RECORDED if isinstance(decode(row), Segment | Datagram))


def test_ipv6_with_addresses_of_ipv4_stays_ipv6() -> None:
    addresses = [bytes(10) + b"\xff\xff" + socket.inet_aton(address) for address in ("69.1.2.3", "69.4.5.6")]
    transport = tcp(S, WEB, (1, 1, ACK), b"data").data[34:]
    header = b"\x60\0\0\0" + struct.pack(">HBB", len(transport), 6, 64) + b"".join(addresses)
    data = bytes(12) + b"\x86\xdd" + header + transport
    row = Packet(S, LinkType.ETHERNET, data, len(data))
    assert parts(read_plain(row) or decode(row)) == parts(decode(row))
    assert parts(decode(row))[1][0] == addresses[0]


def parts(found: object) -> tuple[Any, ...]:
    assert isinstance(found, Segment | Datagram)
    numbers = (found.key, found.seq, found.ack, found.flags) if isinstance(found, Segment) else ()
    return found.ts_ns, found.ends, found.payload, found.wire_payload_octets, *numbers


def in_file(tmp_path: Path, packets: list[Packet]) -> str:
    path = tmp_path / "carried.pcap"
    path.write_bytes(capture(packets))
    return str(path)


def tunnel(start_ns: int, isn: int, segments: int, *, ends: bool = True) -> list[Packet]:
    """A flow to a listed name that sends `segments` segments of 1,000 octets."""
    rows = [
        tcp(start_ns, WEB, (isn, 0, SYN)),
        tcp(start_ns, BACK, (isn + 9, isn + 1, SYN | ACK)),
        tcp(start_ns, WEB, (isn + 1, isn + 10, ACK), HELLO),
        tcp(start_ns, BACK, (isn + 10, isn + 2, ACK), b"\x16\x03\x03" + bytes(100)),
    ]
    at = isn + 1 + len(HELLO)
    rows += [tcp(start_ns + n * S, WEB, (at + n * 1000, isn + 10, ACK), bytes(1000)) for n in range(segments)]
    rows += [tcp(start_ns + n * S, BACK, (isn + 113, at + n * 1000, ACK)) for n in range(segments)]
    if ends:
        rows += [tcp(rows[-1].ts_ns, way, (9, 9, FIN | ACK)) for way in (WEB, BACK)]
    return sorted(rows, key=lambda row: row.ts_ns)


def of_each(packets: list[Packet]) -> tuple[int, int, int, int]:
    out = sum(row.wire_octets for row in packets if row.data[26:30] == socket.inet_aton(CLIENT))
    total = sum(row.wire_octets for row in packets)
    return out, total - out, len(packets), (packets[-1].ts_ns - packets[0].ts_ns) // 1_000_000


def check_carried(path: str, flows: list[list[Packet]], monkeypatch: pytest.MonkeyPatch) -> None:
    check_same(path, monkeypatch)
    monkeypatch.undo()
    rows, _ = replayed(path)
    found = [tuple(row[name] for name in ("bytes_out", "bytes_in", "packets", "duration_ms")) for row in rows]
    assert sorted(found) == sorted(of_each(flow) for flow in flows)


def test_a_detection_says_what_all_of_its_flow_carried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flow = tunnel(S, 1000, 2000)
    check_carried(in_file(tmp_path, flow), [flow], monkeypatch)


def test_flows_of_one_five_tuple_are_counted_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flows = [tunnel(S, 1000, 30, ends=False), tunnel(60 * S, 90_000_000, 50), tunnel(9000 * S, 7, 40)]
    check_carried(in_file(tmp_path, [row for flow in flows for row in flow]), flows, monkeypatch)


def test_another_capture_behind_is_counted_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flows = [tunnel(90_000 * S, 1000, 30, ends=False), tunnel(S, 1000, 50, ends=False)]
    check_carried(in_file(tmp_path, [row for flow in flows for row in flow]), flows, monkeypatch)


def test_what_was_counted_of_a_flow_that_loses_its_place_is_handed_out() -> None:
    flows = [tunnel(S, 1000, 20, ends=False)]
    others = [tcp(30 * S, (CLIENT, port, SERVER, 80), (1, 1, ACK), bytes(10)) for port in range(2000, 2032)]
    content, table = capture(flows[0] + others), make_table(Limits(flows=8))
    counts: list[CountRow] = []
    take_records(table, content, (24, len(content)), [], counts)
    passing = sum(row in flows[0] for row in walk(flows[0]))
    assert sum(row[5] + row[6] for row in counts) == len(flows[0]) - passing
    assert take(table, counts[0][2]) == []
