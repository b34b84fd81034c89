import os
import subprocess
import sys
from pathlib import Path

import pytest


def molecatcher(*argv: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "molecatcher", *argv]
    return subprocess.run(
        command, env=os.environ | environment, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MOLECATCHER_WINDOW_S", "soon"),
        ("MOLECATCHER_SPOOL_MIB", "0"),
        ("MOLECATCHER_RESOLVERS", "192.0.2.53"),
        ("MOLECATCHER_INTERFACE", "eth0"),
    ],
)
def test_a_setting_that_cannot_be_used_ends_the_program_with_one_sentence(name: str, value: str) -> None:
    ended = molecatcher("check", **{name: value})
    assert ended.returncode == 1
    assert len(ended.stderr.splitlines()) == 1
    assert ended.stderr.startswith("molecatcher: the settings cannot be used: ")
    assert name.removeprefix("MOLECATCHER_").lower() in ended.stderr.lower()


def test_what_the_program_stores_is_its_users_alone(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir(mode=0o755)
    capture = Path(__file__).parents[2] / "pcaps" / "ngrok-py-default.pcap"
    assert molecatcher("replay", str(capture), "--store", "--state", str(state)).returncode == 0
    assert (state / "molecatcher.db").stat().st_mode & 0o777 == 0o600
