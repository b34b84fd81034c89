"""What is detected, and kept of it, is the same with a screen and without."""

import random
from pathlib import Path

import msgspec
import pytest
from crafted import write_pcap
from damage import changed
from frames import S, read_packets
from mix import write_mix
from recordings import CAPTURES, recording_names
from screened import (
    RULES,
    detected,
    new_screen,
    said,
)
from traps import DETECTED
from traps_quiet import QUIET

import molecatcher.recordings.replay
from molecatcher.recordings.replay import Replay
from sensor.capture.offline.file import open_capture
from sensor.capture.offline.pcapng_file import Commented, write_pcapng
from sensor.detection.detect import Detector
from sensor.packet import LinkType, Packet
from sensor.pipeline import Pipeline

pytestmark = pytest.mark.usefixtures("each_screen")


def events(path: Path) -> list[dict[str, object]]:
    replay = Replay(RULES, keeps_packets=True)
    rows = [msgspec.structs.asdict(event) for event in replay.play(str(path))]
    return [{key: value for key, value in row.items() if key != "event_id"} for row in rows]


def events_without(path: Path, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, object]]:
    with monkeypatch.context() as patch:
        patch.setattr(molecatcher.recordings.replay, "make_screen", lambda: None)
        return events(path)


@pytest.mark.parametrize("name", recording_names())
def test_a_recording_says_the_same_with_a_screen_down_to_the_packets_kept(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = CAPTURES / f"{name}.pcap"
    assert events(path) == events_without(path, monkeypatch)


@pytest.mark.parametrize("name", recording_names())
def test_so_does_a_file_of_two_interfaces(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = read_packets(str(CAPTURES / f"{name}.pcap"))
    first = next((row.data[6:12] for row in rows), b"")
    path = tmp_path / "two.pcapng"
    named = [msgspec.structs.replace(row, interface="eth0" if row.data[6:12] == first else "eth1") for row in rows]
    path.write_bytes(write_pcapng([Commented(row, "") for row in named]))
    assert events(path) == events_without(path, monkeypatch)


def test_of_a_mix_hardly_anything_is_handed_out_and_nothing_is_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "mix.pcap"
    truth = write_mix(path, 60_000)
    found = events(path)
    assert len(found) == len(truth.tunnels) == 200
    assert found == events_without(path, monkeypatch)
    screen = new_screen()
    pipeline = Pipeline(screen=screen)
    Detector(pipeline, lambda: RULES)
    with open_capture(str(path), heads_only=True) as source:
        heads = sum(map(len, iter(source.read, None)))
    with open_capture(str(path), heads_only=True, screen=screen) as source:
        handed_out_of_mix = sum(map(len, iter(source.read, None)))
    assert handed_out_of_mix < heads / 3


@pytest.mark.parametrize("seed", range(60))
def test_whatever_happens_to_packets_no_detection_is_lost_by_a_screen(seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)
    packets: list[Packet] = []
    for trap in chance.sample((*DETECTED, *QUIET), 3):
        rows = changed([row for row in trap.packets() if row.link_type == LinkType.ETHERNET], chance)
        shift_ns = 1_700_000_000 * S - (rows[0].ts_ns if rows else 0)
        packets += [Packet(row.ts_ns + shift_ns, row.link_type, row.data, row.wire_octets) for row in rows]
    path = tmp_path / "changed.pcap"
    write_pcap(path, sorted(packets, key=lambda row: row.ts_ns))
    assert said(detected(path, None)) <= said(detected(path, new_screen()))
