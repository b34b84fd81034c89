"""The zone of a running program: real processes, BIND configured with what the program prints."""

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dns.message
import dns.rcode
import httpx
import pytest
from dns_client import asked, resolves
from feed_programs import BLOCKED, PASSED, upstream
from free_ports import free_port
from installation import wait_until
from main_job import open_folder
from resolvers import bind, knot_dns
from zone_service import ORIGIN, transferred

from api.errors import RefusedListenAddress
from molecatcher.errors import SetupError
from molecatcher.processes.open_zone import listen_for_zone, parse_secondary
from molecatcher.settings import Settings

SANCTION = '[[sanctioned]]\ndomain = "{}"\nservice = "{}"\nowner = "o"\nreason = "r"\n'
POLICY = SANCTION.format("tunnels.example.com", "ngrok") + SANCTION.format("acme.nport.link", "nport")
MORE = '[[blocked]]\nentry = "new.tunnel.example"\nowner = "o"\nreason = "r"\n'


@pytest.fixture
def folder() -> Iterator[Path]:
    with open_folder() as folder:
        (folder / "policy.toml").write_text(POLICY)
        yield folder


@contextmanager
def serving(folder: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    argv = [sys.executable, "-m", "molecatcher", "serve", "--state", str(folder / "state"), "--listen", "127.0.0.1:0"]
    options = ["--policy", str(folder / "policy.toml"), "--zone-listen", f"127.0.0.1:{port}"]
    with (folder / "log").open("ab") as log, subprocess.Popen([*argv, *options], stderr=log) as process:
        try:
            yield process
        finally:
            process.terminate()
            process.wait(60)


def serial(port: int) -> int:
    """Return the serial that is served, 0 while none is."""
    answer = asked(port, dns.message.make_query(ORIGIN, "SOA"))
    return 0 if answer is None or answer.rcode() != dns.rcode.NOERROR else int(answer.answer[0][0].serial)


def printed(folder: Path, port: int, secondary: int, *more: str, heading: str = "BIND: named.conf") -> str:
    argv = [sys.executable, "-m", "molecatcher", "zone", "key", "create", "bind", "--state", str(folder / "state")]
    options = ["--notify", f"127.0.0.1:{secondary}", "--server", f"127.0.0.1:{port}", *more]
    text = subprocess.run([*argv, *options], check=True, capture_output=True, text=True, timeout=60).stdout
    found = re.search(rf"## {heading}\n\n(.*?)\n\n## ", text, re.DOTALL)
    assert found
    return found[1]


def consumers(folder: Path) -> list[tuple[str, str, int]]:
    """Return who has which serial in which form, as the running program says."""
    rows = map(json.loads, filter(None, (folder / "log").read_text().splitlines()))
    address = [row["address"] for row in rows if row["event"] == "api_listening"][-1]
    items = httpx.get(f"http://{address}/v1/consumers", trust_env=False, timeout=60).raise_for_status().json()["items"]
    return [(row["consumer"], row["format"], row["serial"]) for row in items]


def test_bind_follows_a_running_program_and_keeps_its_zone_without_it(folder: Path) -> None:
    port, secondary = free_port(), free_port()
    configuration = printed(folder, port, secondary)
    with upstream() as name_server, serving(folder, port) as process:
        wait_until(lambda: serial(port))
        first = serial(port)
        with bind(folder, name_server, configuration, secondary):
            wait_until(lambda: resolves(secondary, BLOCKED[0]) is False)
            (folder / "policy.toml").write_text(POLICY + MORE)
            process.send_signal(signal.SIGHUP)
            wait_until(lambda: resolves(secondary, "new.tunnel.example") is False)
            assert serial(port) > first
            wait_until(lambda: consumers(folder) == [("bind", "transfer", serial(port))])
            process.kill()
            process.wait(60)
            assert {name: resolves(secondary, name) for name in BLOCKED} == dict.fromkeys(BLOCKED, False)
            for lost in (folder / "state").glob("molecatcher.db*"):
                lost.unlink()
            second = after_the_loss(folder, port, secondary)
            assert second > first
            assert {name: resolves(secondary, name) for name in PASSED} == dict.fromkeys(PASSED, True)


@pytest.mark.full
def test_bind_with_a_key_of_a_profile_takes_the_zone_of_that(folder: Path) -> None:
    port, secondary, visited = free_port(), free_port(), "x.ngrok.app"
    configuration = printed(folder, port, secondary, "--profile", "strict")
    assert 'zone "strict.molecatcher.rpz"' in configuration
    with upstream() as name_server, serving(folder, port), bind(folder, name_server, configuration, secondary):
        wait_until(lambda: resolves(secondary, visited) is False)
        assert {name: resolves(secondary, name) for name in PASSED} == dict.fromkeys(PASSED, True)
        assert "ngrok.app" not in transferred(port).to_text(), "the zone of the default profile"


def test_knot_dns_is_told_of_what_changes(folder: Path) -> None:
    port, secondary = free_port(), free_port()
    configuration = printed(folder, port, secondary, heading="Knot DNS.*?knot.conf")
    with serving(folder, port) as process, knot_dns(folder, configuration, secondary):
        wait_until(lambda: serial(secondary) == serial(port) > 0)
        first = serial(port)
        (folder / "policy.toml").write_text(POLICY + MORE)
        process.send_signal(signal.SIGHUP)
        wait_until(lambda: serial(secondary) == serial(port) > first)
        process.kill()
        process.wait(60)
        assert serial(secondary) > first


def after_the_loss(folder: Path, port: int, secondary: int) -> int:
    """Start again without a database: numbers go on where they were, and the secondary follows."""
    with serving(folder, port) as process:
        wait_until(lambda: serial(port))
        before = serial(port)
        assert "new.tunnel.example" in transferred(port).to_text()
        (folder / "policy.toml").write_text(POLICY)
        process.send_signal(signal.SIGHUP)
        wait_until(lambda: resolves(secondary, "new.tunnel.example"))
        assert resolves(secondary, BLOCKED[0]) is False
        assert serial(port) == before + 1
        return serial(port)


@pytest.mark.parametrize("name", [".", "a..b", "x" * 61, f"{'x' * 40}.{'y' * 40}", "-\u0000"])
def test_a_zone_name_that_cannot_be(tmp_path: Path, name: str) -> None:
    with pytest.raises(SetupError, match="no name for a zone"):
        listen_for_zone(Settings(state=tmp_path, zone_listen="127.0.0.1:0", zone_name=name))


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("192.0.2.53", ("192.0.2.53", 53)),
        ("192.0.2.53:5300", ("192.0.2.53", 5300)),
        ("2001:db8::53", ("2001:db8::53", 53)),
        ("[2001:db8::53]:5300", ("2001:db8::53", 5300)),
        ("[::ffff:192.0.2.53]:53", ("192.0.2.53", 53)),
    ],
)
def test_the_address_of_a_secondary(text: str, wanted: tuple[str, int]) -> None:
    assert parse_secondary(text) == wanted


@pytest.mark.parametrize("text", ["ns1.example.com", "192.0.2.53:0", "192.0.2.53:x", ""])
def test_no_address_of_a_secondary(text: str) -> None:
    with pytest.raises((SetupError, RefusedListenAddress)):
        parse_secondary(text)
