import subprocess
import sys
import time
from pathlib import Path

import pytest

from molecatcher.errors import SetupError
from molecatcher.state import claim

HOLD = """
import pathlib, sys, time
from molecatcher.state import claim
claim(pathlib.Path(sys.argv[1]))
print(1, flush=True)
time.sleep(60)
"""


def hold(path: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "1\n"
    return process


def test_a_second_process_is_refused_while_the_first_runs(tmp_path: Path) -> None:
    path = tmp_path / "state" / "sensor.lock"
    with hold(path) as first:
        with pytest.raises(SetupError, match=r"another sensor runs on .*state"):
            claim(path, wait_s=0.2)
        first.kill()
    assert path.stat().st_mode & 0o777 == 0o600


def test_one_that_is_killed_makes_room_for_the_next(tmp_path: Path) -> None:
    path = tmp_path / "sensor.lock"
    with hold(path) as first:
        started_s = time.monotonic()
        first.kill()
        claim(path)
    assert time.monotonic() - started_s < 5


def test_a_state_directory_that_cannot_be_used_is_said_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SetupError, match="--state"):
        claim(tmp_path / "file" / "sensor.lock")
