import contextlib
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from molecatcher.processes import notify
from molecatcher.processes.notify import Notifier


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, socket.socket]]:
    """The NOTIFY_SOCKET value of a service manager, and its end of the socket."""
    name = str(tmp_path / "notify") if request.param == "path" else f"@molecatcher-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(name.replace("@", "\0", 1) if request.param == "abstract" else name)
        sock.settimeout(1)
        yield name, sock


def test_states_are_told(manager: tuple[str, socket.socket]) -> None:
    name, sock = manager
    notifier = Notifier({"NOTIFY_SOCKET": name})
    notifier.ready()
    notifier.status("capturing on\neth0")
    notifier.stopping()
    assert [sock.recv(200) for _ in range(3)] == [b"READY=1", b"STATUS=capturing on eth0", b"STOPPING=1"]


def test_the_watchdog_is_fed_twice_in_its_interval(
    manager: tuple[str, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    name, sock = manager
    notifier = Notifier({"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "4000000", "WATCHDOG_PID": str(os.getpid())})
    sock.setblocking(False)
    clock = SimpleNamespace(now_s=1000)
    monkeypatch.setattr(notify, "time", SimpleNamespace(monotonic=lambda: clock.now_s))
    fed_at = []
    for second in range(9):
        notifier.alive()
        notifier.alive()
        fed_at += [second] * fed(sock)
        clock.now_s += 1
    assert fed_at == [0, 2, 4, 6, 8]


def fed(sock: socket.socket) -> int:
    """Return how often the watchdog was fed since the last look."""
    times = 0
    with contextlib.suppress(BlockingIOError):
        while sock.recv(200) == b"WATCHDOG=1":
            times += 1
    return times


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({}, None),
    ],
)
def test_the_watchdogs_interval(environment: dict[str, str], expected: float | None) -> None:
    assert Notifier(environment).watchdog_s == expected


@pytest.mark.parametrize("environment", [{}, {"NOTIFY_SOCKET": "/nonexistent/notify"}, {"NOTIFY_SOCKET": "@nobody"}])
def test_nobody_has_to_listen(environment: dict[str, str]) -> None:
    notifier = Notifier(environment)
    notifier.ready()
    notifier.alive()


def test_a_full_queue_does_not_hold_the_service_up(manager: tuple[str, socket.socket]) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": manager[0]})
    started = time.monotonic()
    for _ in range(2000):
        notifier.ready()
    assert time.monotonic() - started < 10
