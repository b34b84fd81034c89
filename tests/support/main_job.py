"""The main job as a process on a host of a test network."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from stand_ins import Internet, get_json

BASE = "http://127.0.0.1:8484"


@contextmanager
def running(world: Internet, state: Path, *options: str) -> Iterator[subprocess.Popen[Any]]:
    """The main job on the host that monitors, ready, its sensor's first heartbeat stored."""
    argv = [sys.executable, "-m", "molecatcher", "run", "--state", str(state), *options]
    log = (state.parent / "log").open("w")
    process = world.monitor.popen(argv, stderr=log)
    try:
        wait_for(lambda: is_ready(state.parent / "log", process))
        wait_for(lambda: get_json(world.monitor, f"{BASE}/v1/sensors")["items"])
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
        log.close()


def is_ready(log: Path, process: subprocess.Popen[Any]) -> bool:
    assert process.poll() is None, log.read_text()
    return any('"event": "ready"' in line for line in log.read_text().splitlines())


def wait_for(condition: Callable[[], object], timeout_s: float = 60) -> float:
    """Return the seconds until `condition` held; two busy cores may take long for what takes a moment."""
    started_s = time.monotonic()
    while not condition():
        assert time.monotonic() - started_s < timeout_s
        time.sleep(0.05)
    return time.monotonic() - started_s


@contextmanager
def open_folder() -> Iterator[Path]:
    """Yield a folder that every user can enter, unlike pytest's: the program gives up root and needs its state."""
    with TemporaryDirectory(prefix="molecatcher-test-") as name:
        Path(name).chmod(0o755)
        yield Path(name)
