"""`molecatcher ingest-log` as a user runs it, on the logs of real proxies."""

import gzip
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hellos import hello_message, records, server_name
from main_job import open_folder, wait_for
from proxies import ask, echo_server, haproxy, squid

from db.store import open_store
from db.values import EventFilter
from rules.values.event import Event

LISTED, SANCTIONED, DENIED, OTHER = "connect.ngrok-agent.com", "eu.tunnels.example.com", "serveo.net", "www.example.org"
POLICY = '[[sanctioned]]\ndomain = "tunnels.example.com"\nservice = "ngrok"\nowner = "o"\nreason = "r"\n'
POLICY += 'addresses = ["192.0.2.0/24"]\n'
LINE = "1795471704.732     22 10.1.2.3 TCP_TUNNEL/200 6504 CONNECT {}:443 alice HIER_DIRECT/192.0.2.7 -\n"


def ingest(*argv: str, given: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "molecatcher", "ingest-log", *argv]
    return subprocess.run(command, input=given, capture_output=True, timeout=60, check=False)


def rows(*argv: str, given: bytes | None = None) -> list[dict[str, Any]]:
    done = ingest(*argv, "--format", "json", given=given)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with open_folder() as path:
        (path / "policy.toml").write_text(POLICY)
        yield path


@pytest.fixture(scope="module")
def logs(folder: Path) -> Path:
    """The logs of a client that asked each proxy for each name."""
    with (
        echo_server() as origin,
        squid(folder, [LISTED, SANCTIONED, OTHER], denied=DENIED) as proxy,
        haproxy(folder, proxy, denied=DENIED) as (front, _),
    ):
        for port in (proxy, front):
            statuses = [ask(port, f"{name}:{origin}") for name in (LISTED, SANCTIONED, OTHER, DENIED)]
            assert [b" 200 " in status for status in statuses] == [True, True, True, False], statuses
        wait_for(lambda: (folder / "haproxy.log").read_bytes().count(b"CONNECT") == 4)
        wait_for(lambda: (folder / "further.log").read_bytes().count(b"CONNECT") == 7)
    return folder


@pytest.mark.parametrize("name", ["squid", "common", "combined", "further", "haproxy"])
def test_the_log_of_a_real_proxy_gives_its_tunnels(logs: Path, name: str) -> None:
    found = rows(str(logs / f"{name}.log"), "--policy", str(logs / "policy.toml"))
    seen = {(row["dst_name"], row["verdict"], row["state"]) for row in found}
    assert seen == {
        (LISTED, "unsanctioned", "live"),
        (SANCTIONED, "sanctioned", "live"),
        (DENIED, "unsanctioned", "blocked"),
    }
    assert all(row["src_ip"] == "127.0.0.1" and row["kind"] == "http" for row in found)
    assert {row["reasons"][0]["evidence"] for row in found} == {"http_connect"}


def test_the_further_fields_count_what_the_client_sent(logs: Path) -> None:
    row = next(row for row in rows(str(logs / "further.log")) if row["dst_name"] == LISTED)
    assert row["bytes_out"] > 4
    assert row["bytes_in"] > 4
    assert row["src_port"] > 0
    assert row["dst_ip"] == "127.0.0.1"


def test_a_captured_server_name_gives_a_tunnel_in_tcp_mode(folder: Path) -> None:
    with echo_server() as origin, haproxy(folder, origin, denied=DENIED) as (_, front):
        for name in (LISTED, DENIED):
            with socket.create_connection(("127.0.0.1", front), timeout=10) as connection:
                connection.sendall(records(hello_message(server_name(name.encode()))))
                connection.recv(4096)
        wait_for(lambda: (folder / "haproxy.log").read_bytes().count(b"{") >= 2)
    found = rows(str(folder / "haproxy.log"))
    assert {(row["dst_name"], row["state"], row["kind"]) for row in found} == {
        (LISTED, "live", "tls"),
        (DENIED, "blocked", "tls"),
    }


def test_a_pin_is_not_held_against_a_proxy() -> None:
    """The log of a plain request through a proxy holds no address of the tunnel."""
    with open_folder() as path:
        (path / "policy.toml").write_text(POLICY)
        request = f'"GET http://{SANCTIONED}/ HTTP/1.1" 200 65 TCP_MISS:HIER_DIRECT'
        line = f"10.1.2.3 - - [23/Nov/2026:22:08:24 +0000] {request}\n"
        found = rows("-", "--policy", str(path / "policy.toml"), given=line.encode())
    assert [row["verdict"] for row in found] == ["sanctioned"]


def test_who_signed_in_at_the_proxy_is_told() -> None:
    assert rows("-", given=LINE.format(LISTED).encode())[0]["src_user"] == "alice"


def test_a_compressed_log_gives_the_same(tmp_path: Path) -> None:
    packed = tmp_path / "access.log.1.gz"
    packed.write_bytes(gzip.compress(LINE.format(LISTED).encode()))
    assert [row["dst_name"] for row in rows(str(packed))] == [LISTED]


def test_what_cannot_be_read_is_said() -> None:
    done = ingest("-", given=b"nonsense\n" * 3 + LINE.format(OTHER).encode())
    assert done.returncode == 0
    assert b"passed over: 3 (not a line of a Squid or HAProxy log)" in done.stderr
    assert b"nonsense" in done.stderr
    done = ingest("-", given=b"x" * 70_000 + b"\n" + LINE.format(OTHER).encode())
    assert b"passed over: 1 (too long for a line)" in done.stderr
    assert b"such as" not in done.stderr
    done = ingest("/nonexistent.log")
    assert (done.returncode, b"cannot be read" in done.stderr) == (1, True)
    done = ingest("-", "--follow", given=b"")
    assert (done.returncode, b"cannot be followed" in done.stderr) == (1, True)


def test_a_log_read_twice_gives_its_events_once(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    log.write_text(LINE.format(LISTED) * 2 + LINE.format(DENIED))
    for _ in range(2):
        assert ingest(str(log), "--store", "--state", str(tmp_path)).returncode == 0
    assert sorted((event.dst_name, event.count) for event in _stored(tmp_path)) == [(LISTED, 2), (DENIED, 1)]


def test_a_log_is_followed_through_rotation_and_restarts(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    log.write_text(LINE.format(LISTED))
    with _following(log, tmp_path):
        _wait_for_names(tmp_path, {LISTED})
        log.rename(tmp_path / "access.log.1")
        log.write_text(LINE.format(DENIED))
        _wait_for_names(tmp_path, {LISTED, DENIED})
    with log.open("a") as file:
        file.write(LINE.format("tunnel.us.ngrok.com"))
    with _following(log, tmp_path, stop=signal.SIGKILL):
        _wait_for_names(tmp_path, {LISTED, DENIED, "tunnel.us.ngrok.com"})
    with _following(log, tmp_path):
        with log.open("a") as file:
            file.write(LINE.format("lhr.life"))
        _wait_for_names(tmp_path, {LISTED, DENIED, "tunnel.us.ngrok.com", "lhr.life"})
    assert [event.count for event in _stored(tmp_path)] == [1, 1, 1, 1]


@contextmanager
def _following(log: Path, state: Path, stop: signal.Signals = signal.SIGTERM) -> Iterator[None]:
    argv = [sys.executable, "-m", "molecatcher", "ingest-log", str(log), "--follow", "--state", str(state)]
    process = subprocess.Popen(argv, stderr=subprocess.PIPE, env=os.environ)
    try:
        yield
    finally:
        process.send_signal(stop)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == (0 if stop == signal.SIGTERM else -stop), errors


def _stored(state: Path) -> list[Event]:
    if not (state / "molecatcher.db").exists():
        return []
    with open_store(state / "molecatcher.db") as store:
        return store.events(EventFilter(), 100)


def _wait_for_names(state: Path, names: set[str]) -> None:
    wait_for(lambda: {event.dst_name for event in _stored(state)} == names)
