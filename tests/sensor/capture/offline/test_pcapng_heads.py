"""What the compiled walk makes of pcapng is what its blocks say one by one, and what a pcap file with the same says."""

import random
import struct
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import blocks
import msgspec
import pytest
from blocks import described, enhanced, of_packets, section
from frames import CLIENT, SERVER, Conversation, S, read_packets
from hypothesis import given
from hypothesis import strategies as st
from mix import write_mix
from msgspec.structs import replace
from recordings import CAPTURES, recording_names
from screened import hello

import sensor.capture.offline.file
from molecatcher.recordings.replay import Replay, Summary
from rules.catalogue.catalogue import load_catalogue
from rules.policy.policy import Policy
from rules.policy.ruleset import Ruleset
from sensor.capture.offline import heads
from sensor.capture.offline.file import open_capture
from sensor.capture.offline.pcapng_file import Commented, write_pcapng
from sensor.errors import MalformedCapture
from sensor.packet import LinkType, Packet

pytestmark = pytest.mark.skipif(not heads.IS_COMPILED, reason="there was no compiler at install")

LISTED = "connect.ngrok-agent.com"
BETWEEN = b"".join(
    blocks.block(kind, bytes(40)) for kind in (blocks.NAMES, blocks.STATISTICS, blocks.SECRETS, blocks.CUSTOM)
) + blocks.block(blocks.UNKNOWN, bytes(3 << 20))
Said = tuple[list[dict[str, object]], Summary]


def said(path: Path) -> Said:
    """What a replay says of a file, and its summary."""
    replay = Replay(Ruleset(load_catalogue(), Policy()))
    rows = [msgspec.structs.asdict(event) for event in replay.play(str(path))]
    rows = [{key: value for key, value in row.items() if key != "event_id"} for row in rows]
    return sorted(rows, key=repr), replay.summary


def by_block(path: Path) -> Said:
    """What is said if every block is read by itself."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sensor.capture.offline.file, "IS_COMPILED", False)
        return said(path)


def check(path: Path, content: bytes) -> Said:
    """Check that a file says the same either way; return what."""
    path.write_bytes(content)
    found = said(path)
    assert found == by_block(path)
    return found


def read_until_damage(path: Path, *, heads_only: bool) -> tuple[list[Packet], int, str]:
    """What is handed out of a file, how many packets are not, and how it ends."""
    rows: list[Packet] = []
    with open_capture(str(path), heads_only=heads_only) as source:
        try:
            while (batch := source.read()) is not None:
                rows += batch
        except MalformedCapture as error:
            return rows, source.passed_over + source.copies, str(error)
        return rows, source.passed_over + source.copies, "cut" if source.truncated else ""


def heads_of(path: Path, *, heads_only: bool = True) -> tuple[list[Packet], int]:
    """What is handed out of a file, and how many packets are not."""
    rows, others, end = read_until_damage(path, heads_only=heads_only)
    assert not end
    return rows, others


def talk(start_ns: int = S, segments: int = 60, port: int = 40000) -> list[Packet]:
    """A connection to a listed name, with a hello in two segments."""
    made = Conversation((CLIENT, port, SERVER, 443), start_ns=start_ns, isn=port)
    begun = [*made.open(), *made.send(hello(LISTED), size=300), *made.answer(b"\x16\x03\x03\x00\x7a" + bytes(122))]
    return begun + [row for _ in range(segments) for row in (*made.send(bytes(1000)), *made.answer(bytes(1200)))]


@pytest.mark.parametrize("name", recording_names())
def test_a_recording_says_the_same_as_pcapng(name: str, tmp_path: Path) -> None:
    rows = read_packets(str(CAPTURES / f"{name}.pcap"))
    path = tmp_path / f"{name}.pcap"
    named = [Commented(replace(row, interface="eth0")) for row in rows]
    events, summary = check(path, write_pcapng(named))
    assert {row["interface"] for row in events} <= {"eth0"}
    path.write_bytes((CAPTURES / f"{name}.pcap").read_bytes())
    of_pcap, of_pcap_summary = said(path)
    assert [row | {"interface": ""} for row in events] == [row | {"interface": ""} for row in of_pcap]
    assert summary == of_pcap_summary


def test_a_mix_says_the_same_as_pcapng(tmp_path: Path) -> None:
    truth = write_mix(tmp_path / "mix.pcap", 60_000)
    path = tmp_path / "mix.pcapng"
    path.write_bytes(write_pcapng([Commented(row) for row in read_packets(str(tmp_path / "mix.pcap"))]))
    assert heads_of(path) == heads_of(tmp_path / "mix.pcap")
    events, _ = said(path)
    assert len(events) == len(truth.tunnels) == 200
    assert by_block(path)[0] == events


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("resolution", [0, 3, 6, 9, 10, 12, 0x80, 0x80 | 20, 0x80 | 32])
@pytest.mark.parametrize("has_options", [False, True], ids=["bare", "with options"])
@pytest.mark.parametrize("between", [b"", BETWEEN], ids=["alone", "between"])
def test_every_layout_has_the_same_heads(
    tmp_path: Path, order: str, resolution: int, between: bytes, *, has_options: bool
) -> None:
    rows = [replace(row, ts_ns=row.ts_ns // S * S) for row in talk()]
    pieces = [of_packets(rows[at : at + 50], 0, order, resolution, has_options=has_options) for at in (0, 50, 100)]
    if order == ">":
        between = b"".join(blocks.block(kind, bytes(20), order) for kind in (4, 5, 10)) if between else b""
    path = tmp_path / "file"
    events, _ = check(path, section(order) + described("eth0", order, resolution) + between.join(pieces))
    assert [row["dst_name"] for row in events] == [LISTED]
    found, passed_over = heads_of(path)
    assert 0 < len(found) == len(rows[:150]) - passed_over < 40
    assert set(map(id_of, found)) <= {id_of(replace(row, interface="eth0")) for row in rows}


def id_of(row: Packet) -> tuple[object, ...]:
    """A packet as a key; of giants, which are handed out cut, what there is of each."""
    return row.ts_ns, row.link_type, row.data[:4096], row.wire_octets, row.interface


def test_sections_of_the_same_interface_follow_one_another(tmp_path: Path) -> None:
    rows = talk(segments=200)
    content = b"".join(
        section(order) + described("eth0", order, resolution) + of_packets(rows[at : at + 100], 0, order, resolution)
        for at, (order, resolution) in zip(range(0, 400, 100), [("<", 9), (">", 9), ("<", 12), (">", 10)], strict=True)
    )
    path = tmp_path / "file"
    check(path, content)
    assert len(heads_of(path)[0]) < 40


def second_interface(rows: list[Packet]) -> bytes:
    """The others, and another connection on an interface that is described only now."""
    apart = talk(rows[0].ts_ns, 40, port=50000)
    return described("eth1") + of_packets(apart[:20], 1) + of_packets(rows) + of_packets(apart[20:], 1)


def both_interfaces(rows: list[Packet]) -> bytes:
    """The others, and each again on an interface that is described only now."""
    return described("eth1") + b"".join(of_packets([row], index) for row in rows for index in (0, 1))


def other_link_type(rows: list[Packet]) -> bytes:
    cooked = [replace(row, data=row.data[14:]) for row in rows]
    return section(">") + described("any", ">", link_type=LinkType.RAW) + of_packets(cooked, 0, ">")


def other_name(rows: list[Packet]) -> bytes:
    return section() + described("eth1") + of_packets(rows)


def unread_link_type(rows: list[Packet]) -> bytes:
    return (
        section() + described("usb", link_type=220) + of_packets(rows[:3]) + section() + described() + of_packets(rows)
    )


def simple_blocks(rows: list[Packet]) -> bytes:
    return b"".join(map(blocks.simple, rows))


def obsolete_blocks(rows: list[Packet]) -> bytes:
    return b"".join(map(blocks.obsolete, rows))


def giant(rows: list[Packet]) -> bytes:
    """A packet larger than the walk takes, then the others."""
    return enhanced(rows[0].ts_ns, bytes(262_145)) + of_packets(rows)


def late(rows: list[Packet]) -> bytes:
    """A time beyond 64 bits of nanoseconds, then the others."""
    return enhanced((1 << 64) - 1, rows[0].data) + of_packets(rows)


def fine_times(rows: list[Packet]) -> bytes:
    """Times too fine for the walk."""
    times = b"".join(enhanced(number, row.data, wire=row.wire_octets) for number, row in enumerate(rows))
    return section() + described("eth0", resolution=0x80 | 63, offset_s=rows[0].ts_ns // S) + times


CHANGES = [
    *(second_interface, both_interfaces, other_link_type, other_name, unread_link_type),
    *(simple_blocks, obsolete_blocks, giant, late, fine_times),
]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("begins_anew", [False, True], ids=["goes on", "begins anew"])
def test_a_file_that_changes_its_shape_says_the_same(
    tmp_path: Path, change: Callable[[list[Packet]], bytes], *, begins_anew: bool
) -> None:
    rows = talk(segments=300)
    more = talk(rows[-1].ts_ns + S, 100) if begins_anew else []
    path = tmp_path / "file"
    for at in (*range(1, 12), 500):
        before = section() + described("eth0") + of_packets(rows[:at])
        check(path, before + change([*rows[at:], *more]))
    path.write_bytes(before)
    assert heads_of(path)[1] > 450


def test_a_file_that_shows_its_shape_late_loses_nothing(tmp_path: Path) -> None:
    rows = talk(segments=300)
    other = [replace(row, interface="eth1") for row in rows[400:]]
    path = tmp_path / "file"
    path.write_bytes(section() + described("eth0") + of_packets(rows[:400]) + described("eth1") + of_packets(other, 1))
    found, passed_over = heads_of(path)
    assert len(found) + passed_over == len(rows)
    assert found[-len(other) :] == other


def test_interfaces_described_first_are_read_by_block(tmp_path: Path) -> None:
    rows = talk()
    path = tmp_path / "file"
    check(path, section() + described("eth0") + described("eth1") + of_packets(rows, 1))
    assert heads_of(path)[1] == 0


@given(
    st.integers(0, (1 << 64) - 1) | st.integers(0, 1 << 40),
    st.integers(0, 255),
    st.none() | st.integers(-(1 << 63), (1 << 63) - 1) | st.integers(-(10**10), 10**10),
)
def test_times_are_reckoned_as_python_does(
    tmp_path_factory: pytest.TempPathFactory, units: int, resolution: int, offset_s: int | None
) -> None:
    path = tmp_path_factory.getbasetemp() / "times"
    path.write_bytes(section() + described("", "<", resolution, offset_s=offset_s) + enhanced(units, bytes(60)) * 2)
    assert heads_of(path) == heads_of(path, heads_only=False)


def mixed(chance: random.Random) -> bytes:
    """A file of blocks of all kinds, mostly enhanced packets of one interface."""
    order = chance.choice("<>")
    content = begun = section(order) + described(chance.choice(("", "eth0")), order)
    rows, apart = talk(), talk(port=50000)
    for number in range(chance.randrange(1, 120)):
        row = rows[number]
        others = [
            blocks.block(chance.choice((4, 5, 10, 0xBAD)), bytes(chance.randrange(90)), order),
            blocks.simple(row, order),
            blocks.obsolete(row, 0, order),
            described("eth1", order),
            begun,
            of_packets([apart[number]], 1, order),
        ]
        content += of_packets([row], 0, order, has_options=chance.random() < 0.5)
        content += chance.choice(others) if chance.random() < 0.04 else b""
    return content


def damaged(chance: random.Random, content: bytes) -> bytes:
    octets = bytearray(content)
    for _ in range(chance.randrange(3)):
        at = chance.randrange(28, len(octets)) // 4 * 4
        octets[at + chance.randrange(4)] = chance.choice((0, 1, 4, 6, 32, 127, 255))
    return bytes(octets[: chance.choice((len(octets), chance.randrange(28, len(octets))))])


@given(st.integers(0, 2**32))
def test_damaged_files_say_the_same(tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    chance = random.Random(seed)
    path = tmp_path_factory.getbasetemp() / "damaged"
    check(path, damaged(chance, mixed(chance)))
    found, others, end = read_until_damage(path, heads_only=True)
    rows, none, as_read = read_until_damage(path, heads_only=False)
    assert (len(found) + others, end) == (len(rows) + none, as_read)
    assert Counter(map(id_of, found)) <= Counter(map(id_of, rows))


def test_a_file_cut_anywhere_says_the_same(tmp_path: Path) -> None:
    rows = talk(segments=1)
    content = section() + described("eth0") + of_packets(rows, has_options=True) + blocks.block(blocks.NAMES, bytes(20))
    path = tmp_path / "cut"
    for end in range(28, len(content) + 1, 3):
        path.write_bytes(content[:end])
        assert read_until_damage(path, heads_only=True) == read_until_damage(path, heads_only=False)


@pytest.mark.parametrize(
    "damage",
    [
        struct.pack("<II", 6, 8) + bytes(40),
        struct.pack("<II", 6, 33) + bytes(40),
        struct.pack("<II", 6, 1 << 30) + bytes(40),
        struct.pack("<II", 5, 34) + bytes(40),
        blocks.block(6, bytes(16)),
        blocks.block(6, struct.pack("<5I", 0, 0, 0, 400, 4) + bytes(396)),
        blocks.block(6, struct.pack("<5I", 1, 0, 0, 4, 4) + bytes(4)),
        blocks.block(1, bytes(4)),
        struct.pack("<III", 0x0A0D0D0A, 28, 0) + bytes(16),
        section() + enhanced(1, bytes(60)),
    ],
)
@pytest.mark.parametrize("behind", [b"", bytes(2 << 20)], ids=["at the end", "within"])
def test_damage_is_told_where_it_is_and_last(tmp_path: Path, damage: bytes, behind: bytes) -> None:
    rows = [replace(row, interface="eth0") for row in talk(segments=1)]
    path = tmp_path / "damaged"
    path.write_bytes(section() + described("eth0") + of_packets(rows) + damage + behind)
    found, passed_over, end = read_until_damage(path, heads_only=True)
    assert (found, passed_over, end) == read_until_damage(path, heads_only=False)
    assert found == rows
    assert end not in {"", "cut"}
    assert said(path) == by_block(path)
