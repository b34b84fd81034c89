"""The access file is taken up while the program runs; what cannot be used leaves the one before in force."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from access_server import serving
from empty_store import empty_store
from free_ports import free_port
from installation import Installation, add_token, wait_until
from people import sign_in

from api.access.config import AccessConfig
from api.app import change_access, create_app
from db.access.values import AccessRole, ActorKind, AuditFilter, TokenScope
from db.store import Store
from molecatcher.access_file import LiveAccess, load_access
from molecatcher.settings import Settings

CLOSED = "require = true\n"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with empty_store(tmp_path / "molecatcher.db") as store:
        yield store


def live(path: Path, store: Store, **more: object) -> tuple[LiveAccess, list[AccessConfig]]:
    """Return the follower of the file at `path`, and where it puts what it takes up."""
    settings = Settings(state=path.parent, access=path, **more)  # type: ignore[arg-type]  # by name
    taken: list[AccessConfig] = []
    return LiveAccess(settings, load_access(settings), taken.append, store), taken


def write(path: Path, text: str) -> None:
    path.write_text(text)
    at_ns = time.time_ns() + len(text) * 10**9  # another time, however coarse the clock of the file system is
    os.utime(path, ns=(at_ns, at_ns))


def test_a_change_is_taken_once_and_noted(tmp_path: Path, store: Store) -> None:
    path = tmp_path / "access.toml"
    path.write_text(CLOSED)
    access, taken = live(path, store)
    assert not access.poll()
    write(path, CLOSED + '[limits]\nknown = "5/minute"\n')
    assert access.poll()
    assert not access.poll()
    assert not access.reload()
    assert [row.limits.known for row in taken] == ["5/minute"]
    (noted,) = store.audit(AuditFilter(action="access.update"), 9)
    assert (noted.target, noted.actor_kind) == (str(path), ActorKind.SYSTEM)
    assert noted.before != noted.after


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("require = maybe", "cannot be used"),
        ("requires = true", "unknown field"),
        ("", "half written"),
        ('require = true\n[addresses.page]\nallow = ["10.0.0.1/8"]\n', "host bits"),
        ('require = true\n[tls]\nclient_ca = "/etc/other.pem"\n', "restart it"),
    ],
)
def test_what_cannot_be_used_keeps_the_one_before(tmp_path: Path, store: Store, text: str, word: str) -> None:
    path = tmp_path / "access.toml"
    path.write_text(CLOSED)
    access, taken = live(path, store)
    write(path, text)
    assert not access.poll()
    assert word in access.error
    assert taken == []
    path.unlink()
    assert not access.poll()
    assert "cannot be read" in access.error
    write(path, CLOSED)
    access.poll()
    assert (access.error, taken) == ("", [])


def test_it_must_stay_reachable_where_it_listens(tmp_path: Path, store: Store) -> None:
    path = tmp_path / "access.toml"
    named = 'hosts = ["molecatcher.example"]\n[proxy]\ntrusted = ["10.0.0.5/32"]\n'
    path.write_text(named)
    access, taken = live(path, store, listen="0.0.0.0:8484")
    write(path, 'hosts = ["molecatcher.example"]\n')
    assert not access.poll()
    assert "in the clear" in access.error
    assert taken == []


def test_sessions_and_tokens_stay_and_judgement_changes(tmp_path: Path, store: Store) -> None:
    installation = Installation(store, tmp_path / "molecatcher.db")
    app = create_app(installation.context(), AccessConfig(require=True))
    viewer = sign_in(installation, AccessRole.VIEWER)
    token = {"X-Api-Key": add_token(store, scopes=(TokenScope.EVENTS_READ,))}
    with serving(installation, AccessConfig(require=True), app=app) as client:
        other = {"Host": "molecatcher.example"}
        assert client.get("/v1/events", headers=token | other).status_code == 421
        assert client.get("/v1/events", headers=viewer).status_code == 200
        config = AccessConfig(require=True, hosts=("Molecatcher.example",), pseudonyms=(AccessRole.VIEWER,))
        installation.add()
        change_access(app, config)
        assert client.get("/v1/events", headers=token | other).status_code == 200
        assert "10.20.0.7" not in client.get("/v1/events", headers=viewer).text
        change_access(app, AccessConfig())
        assert client.get("/v1/events").status_code == 200


@contextmanager
def program(state: Path, access: Path, port: int) -> Iterator[subprocess.Popen[str]]:
    argv = [sys.executable, "-m", "molecatcher", "serve", "--state", str(state), "--access", str(access)]
    with (state.parent / "log").open("w") as log:
        process = subprocess.Popen([*argv, "--listen", f"127.0.0.1:{port}"], stdout=log, stderr=log, text=True)
    try:
        wait_until(lambda: answer(port) is not None)
        yield process
    finally:
        process.terminate()
        process.wait(30)


def answer(port: int, path: str = "/v1/events") -> int | None:
    try:
        return httpx.get(f"http://127.0.0.1:{port}{path}", trust_env=False, timeout=60).status_code
    except httpx.TransportError:
        return None


def test_a_running_program_takes_it_up_by_itself_and_on_sighup(tmp_path: Path) -> None:
    access, port = tmp_path / "access.toml", free_port()
    access.write_text("# whoever is on this host\n")
    with program(tmp_path / "state", access, port) as process:
        assert answer(port) == 200
        write(access, CLOSED)
        wait_until(lambda: answer(port) == 401)
        write(access, "# open again, but wrong\nrequire = 7\n")
        process.send_signal(signal.SIGHUP)
        wait_until(lambda: "access_refused" in (tmp_path / "log").read_text())
        assert answer(port) == 401
        write(access, "# and now open again\n")
        wait_until(lambda: answer(port) == 200)
        page = httpx.get(f"http://127.0.0.1:{port}/readyz", trust_env=False, timeout=60).text
        assert '"check":"access-file","is_ok":true' in page
