"""A recording of several interfaces that carried the same packets says what one of them says."""

from pathlib import Path
from random import Random

import pytest
from frames import read_packets
from msgspec.structs import replace
from recordings import CAPTURES
from variations import clients, replaced, transports

from molecatcher.recordings.replay import Replay
from rules.catalogue.catalogue import load_catalogue
from rules.policy.policy import Policy
from rules.policy.ruleset import Ruleset
from rules.values.event import to_document
from sensor.capture.offline.file import open_capture
from sensor.capture.offline.pcapng_file import Commented, write_pcapng
from sensor.packet import Packet

NAMES = ["ngrok-py-default", "ngrok2-default", "cf2025-token-quic", "ipv6-ngrok2", "dns-iodine-txt", "benign-chromium"]
FORWARDED_NS = 1_000  # less than any answer took
GATEWAY = bytes((203, 0, 113, 9))
LATE_NS = 50_000_000  # how late a ring hands packets over
APART = {"event_id", "interface", "sensor_id", "observed_at", "first_seen", "last_seen", "duration_ms"}


def recorded(name: str) -> list[Packet]:
    """A recording, of an interface `lan0`; what came disordered stays so."""
    return [replace(row, interface="lan0") for row in read_packets(str(CAPTURES / f"{name}.pcap"))]


def on_the_other_side(rows: list[Packet], *, is_masqueraded: bool) -> list[Packet]:
    """The same packets on `wan0`: what leaves later, what comes earlier, perhaps with the gateway's address."""
    known = clients(rows)
    found = []
    for row in rows:
        leaves = any(source.ends[0] in known for source in transports([row]))
        found.append(replace(row, interface="wan0", ts_ns=row.ts_ns + (FORWARDED_NS if leaves else -FORWARDED_NS)))
    if is_masqueraded:
        found = replaced(found, [(old, GATEWAY) for old in known if len(old) == len(GATEWAY)])
    return sorted(found, key=lambda row: row.ts_ns)


def as_written(*interfaces: list[Packet]) -> list[Packet]:
    """The packets in the order in which a program that reads a ring an interface writes them."""
    chance = Random(7)
    written = [(row.ts_ns + chance.randrange(LATE_NS), row) for rows in interfaces for row in rows[:1]]
    for rows in interfaces:
        at_ns = 0
        for row in rows[1:]:
            at_ns = max(at_ns, row.ts_ns + chance.randrange(LATE_NS))
            written.append((at_ns, row))
    return [row for _, row in sorted(written, key=lambda each: each[0])]


def said(path: Path, rows: list[Packet]) -> tuple[list[str], Replay]:
    """What a replay says of a file with `rows`, without what differs."""
    path.write_bytes(write_pcapng([Commented(row) for row in rows]))
    replay = Replay(Ruleset(load_catalogue(), Policy()))
    documents = [to_document(event) for event in replay.play(str(path))]
    return sorted(repr([(key, row[key]) for key in sorted(row.keys() - APART)]) for row in documents), replay


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("is_masqueraded", [False, True], ids=["forwarded", "masqueraded"])
def test_both_sides_of_a_gateway_show_each_flow_once(tmp_path: Path, name: str, *, is_masqueraded: bool) -> None:
    inside = sorted(recorded(name), key=lambda row: row.ts_ns)
    outside = on_the_other_side(inside, is_masqueraded=is_masqueraded)
    alone, _ = said(tmp_path / "alone.pcapng", inside)
    both, replay = said(tmp_path / "both.pcapng", as_written(inside, outside))
    assert both == alone
    assert replay.summary.packets == 2 * len(inside)
    assert 0 < replay.summary.copies <= len(inside)


def test_interfaces_without_a_name_are_told_apart_by_their_number(tmp_path: Path) -> None:
    rows = sorted(recorded("ngrok-py-default"), key=lambda row: row.ts_ns)
    unnamed = [replace(row, interface="") for row in rows]
    merged = as_written(rows, on_the_other_side(rows, is_masqueraded=False))
    path = tmp_path / "merged.pcapng"
    path.write_bytes(
        write_pcapng([Commented(row) for row in merged]).replace(b"lan0", b"same").replace(b"wan0", b"same")
    )
    replay = Replay(Ruleset(load_catalogue(), Policy()))
    found = [event.interface for event in replay.play(str(path))]
    alone, _ = said(tmp_path / "alone.pcapng", unnamed)
    assert len(found) == len(alone)
    assert set(found) <= {"same", "same#1"}
    assert len(rows) / 2 < replay.summary.copies <= len(rows)  # ARP and ICMPv6 are no flows


def test_a_damaged_end_is_said_after_all_packets_before_it(tmp_path: Path) -> None:
    rows = sorted(recorded("ngrok-py-default"), key=lambda row: row.ts_ns)
    both = as_written(rows, on_the_other_side(rows, is_masqueraded=False))
    path = tmp_path / "damaged.pcapng"
    path.write_bytes(write_pcapng([Commented(row) for row in both]) + b"\x06\0\0\0\x0d\0\0\0" + bytes(8))
    replay = Replay(Ruleset(load_catalogue(), Policy()))
    events = list(replay.play(str(path)))
    assert events
    assert "damaged" in replay.summary.failures[0]
    assert replay.summary.packets == len(both)


def test_whoever_wants_every_packet_of_a_file_gets_it(tmp_path: Path) -> None:
    rows = sorted(recorded("ngrok-py-default"), key=lambda row: row.ts_ns)
    both = as_written(rows, on_the_other_side(rows, is_masqueraded=False))
    path = tmp_path / "both.pcapng"
    path.write_bytes(write_pcapng([Commented(row) for row in both]))
    with open_capture(str(path)) as source:
        read: list[Packet] = []
        while (batch := source.read()) is not None:
            read += batch
    assert read == both
