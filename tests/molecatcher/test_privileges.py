import os
import pwd
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from netns import Network, needs_root

from molecatcher.errors import SetupError
from molecatcher.privileges import (
    CAPABILITIES,
    CAPTURE,
    as_user,
    available,
    can_user_run,
    give_up_root,
    prepare_state,
    program_folders,
    with_capture_rights,
    without_rights,
)
from molecatcher.settings import Settings

USER = "molecatcher"
SHOW_STATUS = ["cat", "/proc/self/status"]

pytestmark = [
    needs_root,
    pytest.mark.skipif(
        not any(entry.pw_name == USER for entry in pwd.getpwall()), reason=f"no user {USER}: run `make user`"
    ),
]

RECEIVE = """
import structlog, sys, time
from sensor.capture.live.engine import open_source
from sensor.capture.live.interfaces import choose_interfaces
structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
choice = choose_interfaces()
with open_source(choice.interfaces) as source:
    print("listening", *choice.interfaces, flush=True)
    end = time.monotonic() + 60
    while time.monotonic() < end:
        if any(b"hello sensor" in packet.data for packet in source.read(0.2)):
            print("received")
            break
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that everybody can reach, unlike tmp_path."""
    path = Path(f"/tmp/molecatcher-test-{os.getpid()}")  # noqa: S108 - made exclusively, by root
    path.mkdir(mode=0o755)
    yield path
    shutil.rmtree(path)


def status_of(argv: list[str]) -> dict[str, str]:
    done = subprocess.run(argv, check=True, capture_output=True, text=True, cwd="/")
    pairs = (line.partition(":") for line in done.stdout.splitlines())
    return {name: value.strip() for name, _, value in pairs}


def mask(names: tuple[str, ...]) -> int:
    return sum(1 << CAPABILITIES[name] for name in names)


@pytest.mark.parametrize("capabilities", [CAPTURE, ("net_raw",), ()])
def test_a_user_gets_exactly_these_capabilities(capabilities: tuple[str, ...]) -> None:
    status = status_of(as_user(USER, SHOW_STATUS, capabilities))
    user = pwd.getpwnam(USER)
    assert status["Uid"].split() == [str(user.pw_uid)] * 4
    assert status["Gid"].split() == [str(user.pw_gid)] * 4
    assert status["Groups"] == ""
    assert status["NoNewPrivs"] == "1"
    for kind in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(status[kind], 16) == mask(capabilities), kind


@pytest.mark.parametrize(("confine", "expected"), [(with_capture_rights, CAPTURE), (without_rights, ())])
def test_a_child_of_that_user_keeps_what_it_needs(confine: object, expected: tuple[str, ...]) -> None:
    inner = with_capture_rights(SHOW_STATUS) if confine is with_capture_rights else without_rights(SHOW_STATUS)
    inner = [option for option in inner if not option.startswith("--bounding-set")]  # as an ordinary user would ask
    status = status_of(as_user(USER, inner, CAPTURE))
    assert int(status["CapEff"], 16) == int(status["CapAmb"], 16) == mask(expected)
    assert status["NoNewPrivs"] == "1"


def test_even_root_can_lose_its_rights() -> None:
    assert int(status_of(without_rights(SHOW_STATUS))["CapEff"], 16) == 0


def test_what_is_available_depends_on_this_process() -> None:
    assert available(CAPTURE) == CAPTURE
    code = "from molecatcher.privileges import *; print(*available(CAPTURE))"
    argv = as_user(USER, [sys.executable, "-c", code], ("net_raw",))
    assert subprocess.run(argv, check=True, capture_output=True, text=True, cwd="/").stdout == "net_raw\n"


def test_a_child_ends_with_its_supervisor() -> None:
    code = (
        "import subprocess, sys, time\nfrom molecatcher.privileges import without_rights\n"
        "print(subprocess.Popen(without_rights(['sleep', '60'])).pid, flush=True)\ntime.sleep(60)"
    )
    argv = as_user(USER, [sys.executable, "-c", code], CAPTURE)
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, cwd="/") as supervisor:
        assert supervisor.stdout is not None
        child = int(supervisor.stdout.readline())
        command = Path(f"/proc/{child}/cmdline")
        assert await_content(command, b"sleep\x0060\x00")
        supervisor.kill()
    assert await_content(command, None)


def await_content(path: Path, content: bytes | None) -> bool:
    """Whether `path` holds `content` within a minute; None: whether the process is gone."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        try:
            found = path.read_bytes() or None  # a zombie has no command line
        except (FileNotFoundError, ProcessLookupError):
            found = None
        if found == content:
            return True
        time.sleep(0.02)
    return False


@pytest.mark.parametrize("capabilities", [CAPTURE, ("net_raw",)])
def test_that_user_captures_in_a_namespace(capabilities: tuple[str, ...]) -> None:
    with Network() as network:
        sensor, sender = network.host("sensor"), network.host("sender")
        network.cable(sensor, "eth0", sender, "eth0")
        sensor.address("eth0", "192.0.2.1/24")
        sender.address("eth0", "192.0.2.2/24")
        sensor.ip("route add default via 192.0.2.2")
        argv = as_user(USER, [sys.executable, "-c", RECEIVE], capabilities)
        process = sensor.popen(argv, stdout=subprocess.PIPE, text=True, cwd="/")
        assert process.stdout
        assert process.stdout.readline() == "listening eth0\n"
        code = "import socket; socket.socket(2, 2).sendto(b'hello sensor', ('192.0.2.1', 9))"
        sender.run([sys.executable, "-c", code])
        assert process.stdout.readline() == "received\n"
        assert process.wait(60) == 0


def test_without_the_capability_one_sentence_says_what_to_do() -> None:
    code = "from sensor.capture.live.live import LiveSource; LiveSource(('eth0',))"
    done = subprocess.run(
        as_user(USER, [sys.executable, "-c", code]), capture_output=True, text=True, check=False, cwd="/"
    )
    assert "CaptureError: live capture needs CAP_NET_RAW: start it as root" in done.stderr
    assert "ResourceWarning" not in done.stderr


def test_a_readable_program_can_be_run(folder: Path) -> None:
    state = folder / "state"
    user = pwd.getpwnam(USER)
    prepare_state(state, user.pw_uid, user.pw_gid)
    assert can_user_run(USER, program_folders(), state).ok


def test_a_program_in_a_closed_folder_cannot_be_run(folder: Path) -> None:
    closed = folder / "root" / "clone"
    closed.mkdir(parents=True)
    closed.parent.chmod(0o700)
    access = can_user_run(USER, [closed])
    assert not access.ok
    assert f"{closed} cannot be read" in access.remedy
    assert "/opt/molecatcher" in access.remedy


def test_a_closed_file_in_an_open_folder_is_found(folder: Path) -> None:
    (folder / "module.py").touch(mode=0o600)
    assert f"{folder / 'module.py'} cannot be read" in can_user_run(USER, [folder]).remedy


def test_an_interpreter_out_of_reach_is_found(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.chmod(0o700)
    (folder / "python").symlink_to(sys.executable)
    monkeypatch.setattr(sys, "executable", str(folder / "python"))
    access = can_user_run(USER, [])
    assert not access.ok
    assert f"{folder / 'python'} cannot be read" in access.remedy


def test_a_state_folder_out_of_reach_is_found(folder: Path) -> None:
    assert f"{folder} cannot be written" in can_user_run(USER, [], folder).remedy


def test_a_state_folder_is_made_and_taken_again(folder: Path) -> None:
    state = folder / "var" / "state"
    prepare_state(state, 12345, 12345)
    (state / "database").touch()
    state.chmod(0o755)
    prepare_state(state, 12345, 12345)
    found = state.stat()
    assert (found.st_uid, found.st_gid, found.st_mode & 0o7777) == (12345, 12345, 0o700)


def test_an_empty_folder_of_root_is_taken(folder: Path) -> None:
    (folder / "state").mkdir()
    prepare_state(folder / "state", 12345, 12345)
    assert (folder / "state").stat().st_uid == 12345


def make_full(path: Path) -> None:
    path.mkdir()
    (path / "passwd").touch()


def make_link(path: Path) -> None:
    (path.parent / "elsewhere").mkdir()
    path.symlink_to(path.parent / "elsewhere")


def make_foreign(path: Path) -> None:
    path.mkdir()
    os.chown(path, 54321, 54321)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (make_full, "not empty"),
        (make_link, "Not a directory|symbolic links"),
        (make_foreign, "belongs to user 54321"),
        (Path.touch, "File exists"),
    ],
)
def test_anything_else_is_left_alone(folder: Path, make: object, sentence: str) -> None:
    assert callable(make)
    make(folder / "state")
    before = (folder / "state").lstat()
    with pytest.raises(SetupError, match=sentence):
        prepare_state(folder / "state", 12345, 12345)
    after = (folder / "state").lstat()
    assert (after.st_uid, after.st_mode) == (before.st_uid, before.st_mode)


def test_root_is_no_user_to_continue_as(folder: Path) -> None:
    with pytest.raises(SetupError, match="MOLECATCHER_USER"):
        give_up_root(Settings(state=folder / "state", user="root"))
    assert not (folder / "state").exists()
