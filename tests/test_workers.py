"""A sensor of several workers says what one of a single process says, loses nothing, and survives a worker's death."""

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from cable import Wire, open_wire
from frames import read_packets
from main_job import wait_for
from netns import needs_root
from recordings import CAPTURES, recording_names
from variations import replaced

from db.store import open_store
from db.values import EventFilter
from rules.values.event import to_document
from rules.values.sensor_status import SensorStatus
from sensor.packet import LinkType

pytestmark = needs_root

RECORDED_V4, RECORDED_V6 = bytes((10, 77, 0, 2)), bytes.fromhex("fd77") + bytes(13) + b"\x02"
INSIDE, OUTSIDE = bytes((10, 77)), bytes((198, 51))
POLICY = '[[sanctioned]]\ndomain = "tunnels.example.com"\nservice = "ngrok"\nowner = "o"\nreason = "r"\n'
EVENTS = 20_000
ITS_OWN = {"event_id", "observed_at", "first_seen", "last_seen", "received_at", "sensor_id", "duration_ms", "revision"}


@contextmanager
def sensor(wire: Wire, state: Path, workers: int) -> Iterator[subprocess.Popen[Any]]:
    """A sensor on eth0 with its state in `state`, and its log beside it; it has ended behind the `with` statement."""
    state.with_suffix(".toml").write_text(POLICY)
    options = ["--state", str(state), "--policy", str(state.with_suffix(".toml")), "--workers", str(workers)]
    argv = [sys.executable, "-m", "molecatcher", "sensor", "--interface", "eth0", *options]
    with log_of(state).open("w") as log:
        process = wire.sensor.popen(argv, stderr=log)
        wait_for(
            lambda: said(state, "workers_started" if workers > 1 else "sensor_started") or process.poll() is not None,
        )
        assert process.poll() is None, log_of(state).read_text()
        yield process
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0


def log_of(state: Path) -> Path:
    return state.with_suffix(".log")


def said(state: Path, event: str) -> int:
    return log_of(state).read_text().count(f'"event": "{event}"')


def started(state: Path) -> dict[str, list[int]]:
    """The processes that were started, in order, by their name."""
    pids: dict[str, list[int]] = {}
    for line in log_of(state).read_text().splitlines():
        row = json.loads(line)
        if row["event"] == "process_started":
            pids.setdefault(row["process"], []).append(row["pid"])
    return pids


def conversations() -> list[bytes]:
    """All recordings, twice: from clients of their own, to servers inside, and from others to servers outside."""
    frames: list[bytes] = []
    for number, name in enumerate(recording_names()):
        rows = [row for row in read_packets(str(CAPTURES / f"{name}.pcap")) if row.link_type == LinkType.ETHERNET]
        for place, network in enumerate((INSIDE, OUTSIDE)):
            client = bytes((10, 80 + place, number, 2)), RECORDED_V6[:-3] + bytes((place, number, 2))
            pairs = [(RECORDED_V4, client[0]), (RECORDED_V6, client[1])]
            pairs += [(INSIDE + bytes((subnet,)), network + bytes((subnet,))) for subnet in (1, 2)]
            frames += [row.data for row in replaced(rows, pairs)]
    return frames


def told(state: Path) -> Counter[str]:
    """What the events say, without what differs from run to run."""
    with open_store(state / "molecatcher.db") as store:
        rows = [to_document(event) for event in store.events(EventFilter(), EVENTS)]
    return Counter(map(without_its_own, rows))


def without_its_own(row: dict[str, object]) -> str:
    """An event as text, without what is its own: of several flows it shows the one that was news at a report."""
    its_own = ITS_OWN | {"src_port"} if row["count"] != 1 else ITS_OWN
    return repr(sorted((key, value) for key, value in row.items() if key not in its_own))


def status(state: Path) -> SensorStatus:
    with open_store(state / "molecatcher.db") as store:
        (found,) = store.sensors()
    return found


def test_workers_say_together_what_one_says_alone(tmp_path: Path) -> None:
    alone, shared = tmp_path / "alone", tmp_path / "shared"
    frames = conversations()
    with open_wire() as wire, sensor(wire, alone, 1), sensor(wire, shared, 2):
        for at in range(0, len(frames), 500):
            wire.send(*frames[at : at + 500])
        wait_for(lambda: status(alone).packets == status(shared).packets > len(frames) * 0.9)
    assert status(alone).kernel_drops == status(shared).kernel_drops == 0
    assert status(alone).packets == status(shared).packets
    assert told(alone) == told(shared)


@pytest.mark.full
def test_a_worker_that_dies_is_replaced_and_totals_policy_and_spool_go_on(tmp_path: Path) -> None:
    state = tmp_path / "state"
    frames = conversations()[:2000]
    with open_wire() as wire, sensor(wire, state, 2) as process:
        wire.send(*frames)
        wait_for(lambda: status(state).packets > len(frames) * 0.9)
        before = status(state)
        os.kill(started(state)["sensor worker 1"][0], signal.SIGKILL)
        wait_for(lambda: said(state, "process_ended") and said(state, "sensor_started") == 3)
        assert len(started(state)["sensor worker 0"]) == 1
        wire.send(*frames)
        wait_for(lambda: status(state).packets == 2 * before.packets)
        after = status(state)
        read = said(state, "policy_loaded")
        process.send_signal(signal.SIGHUP)
        wait_for(lambda: said(state, "policy_loaded") == read + 2)
    assert (before.workers, after.workers) == (2, 2)
    assert after.sensor_id == before.sensor_id
    assert after.started_at_ns == before.started_at_ns
    assert after.heartbeat_ns > before.heartbeat_ns
    assert after.interfaces == ("eth0",)
    assert said(state, "sensor_stopped") == 2
    assert not list((state / "spool").glob("*.events"))
    assert told(state)


def test_without_ebpf_one_sentence_says_what_to_do(tmp_path: Path) -> None:
    argv = [
        sys.executable,
        "-m",
        "molecatcher",
        "sensor",
        "--interface",
        "lo",
        "--state",
        str(tmp_path),
        "--workers",
        "2",
    ]
    rights = ["setpriv", "--inh-caps=-all,+net_raw", "--bounding-set=-all,+net_raw"]
    done = subprocess.run([*rights, *argv], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "start with --workers 1" in done.stderr
    assert "Traceback" not in done.stderr
