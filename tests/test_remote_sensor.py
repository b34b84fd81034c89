"""A sensor on a cable that sends to an API over TLS: killed, away, restarted, and every event is there once."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from cable import Wire, open_wire
from frames import RESOLVER, dns_query, udp
from free_ports import free_port
from installation import Installation, add_token, wait_until
from netns import needs_root
from servers import running
from stand_ins import make_certificate

from api.access.config import AccessConfig
from api.app import create_app
from api.policy.sensor_rules import SensorRules
from api.serving.server import ApiServer, ListenAddress, Reach, bind
from api.serving.tls import Certificate
from db.access.values import TokenScope
from db.store import open_store
from db.values import EventFilter
from db.workflow.values import StoredDecision
from molecatcher.errors import SetupError
from molecatcher.processes.sensor_parts import sink_of
from molecatcher.settings import Settings
from rules.values.verdict import Decision

pytestmark = needs_root
NAME = "connect.ngrok-agent.com"
SENSOR = "019ab1f0-8c00-7000-8000-00000000002a"


@contextmanager
def api(installation: Installation, wire: Wire, pem: Path, port: int) -> Iterator[None]:
    """Serve the installation on the sensor's host, over TLS and to nobody without a token."""
    app = create_app(installation.context(), AccessConfig(require=True, hosts=("localhost",)))
    listener = wire.sensor.call(bind, ListenAddress("127.0.0.1", port))
    server = ApiServer(app, listener, Certificate(pem, None), reach=Reach.EVERYTHING)
    with running(server):
        yield


@contextmanager
def sensor(wire: Wire, folder: Path, port: int) -> Iterator[subprocess.Popen[str]]:
    """Run a sensor that listens on the cable and sends to the API."""
    argv = [sys.executable, "-m", "molecatcher", "sensor", "--interface", "eth0", "--state", str(folder / "state")]
    argv += ["--api", f"https://localhost:{port}", "--token-file", str(folder / "token")]
    log = (folder / "log").open("a")
    environment = os.environ | {"SSL_CERT_FILE": str(folder / "stand-in.pem")}
    before = (folder / "log").read_text().count('"listening"')
    process = wire.sensor.popen(argv, stderr=log, env=environment, text=True)
    try:
        wait_until(lambda: (folder / "log").read_text().count('"listening"') > before)
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
        log.close()


def ask(wire: Wire, hosts: Sequence[int]) -> None:
    """Have a client of each number look up the agent's name."""
    wire.send(*(udp(0, (f"10.9.0.{host}", 5000, RESOLVER, 53), dns_query(NAME, ident=host)).data for host in hosts))


def seen(installation: Installation) -> list[str]:
    return sorted(event.src_ip for event in installation.store.events(EventFilter(from_ns=0), 500))


def spooled(folder: Path) -> int:
    return len(list((folder / "state" / "spool").glob("*.events")))


def make_sensor(installation: Installation, folder: Path) -> None:
    """Give the sensor its identity, and a token that is bound to it."""
    (folder / "state").mkdir(mode=0o700)
    (folder / "state" / "sensor_id").write_text(SENSOR)
    token = add_token(installation.store, scopes=(TokenScope.EVENTS_WRITE,), sensor_id=SENSOR)
    (folder / "token").write_text(token)


@pytest.mark.full
def test_the_policy_comes_from_the_api_and_stays_while_it_is_away(tmp_path: Path) -> None:
    pem, port = make_certificate(tmp_path, ["localhost"]), free_port()
    with open_wire() as wire, open_store(tmp_path / "central.db") as store:
        wire.sensor.ip("link set lo up")
        installation = Installation(store, tmp_path / "central.db")
        make_sensor(installation, tmp_path)
        decide(installation, Decision.IGNORE)
        with api(installation, wire, pem, port), sensor(wire, tmp_path, port):
            ask(wire, [1])
            decide(installation, Decision.BLOCK)
            wait_until(lambda: not revisions(installation).isdisjoint(newest(installation)))
            ask(wire, [2])
            wait_until(lambda: seen(installation) == ["10.9.0.2"])
            decide(installation, Decision.IGNORE)
            wait_until(lambda: not revisions(installation).isdisjoint(newest(installation)))
        with sensor(wire, tmp_path, port):  # the API is away
            ask(wire, [3])
            with api(installation, wire, pem, port):
                wait_until(lambda: store.sensors()[0].packets and not store.sensors()[0].policy_error)
        assert seen(installation) == ["10.9.0.2"]


def decide(installation: Installation, decision: Decision) -> None:
    who: dict[str, Any] = {"owner": "o", "reason": "r", "changed_by": "alice", "changed_at_ns": 0}
    installation.store.policy.decide_service(StoredDecision(service="ngrok", decision=decision, **who))


def revisions(installation: Installation) -> set[str]:
    """Return which rules sensors say they use."""
    return {status.rules_revision for status in installation.store.sensors()}


def newest(installation: Installation) -> set[str]:
    return {SensorRules(installation.context()).current().revision}


@pytest.mark.full
def test_nothing_is_lost_and_nothing_comes_twice(tmp_path: Path) -> None:
    pem, port = make_certificate(tmp_path, ["localhost"]), free_port()
    with open_wire() as wire, open_store(tmp_path / "central.db") as store:
        wire.sensor.ip("link set lo up")
        installation = Installation(store, tmp_path / "central.db")
        make_sensor(installation, tmp_path)
        with sensor(wire, tmp_path, port) as process:
            with api(installation, wire, pem, port):
                ask(wire, range(1, 6))
                wait_until(lambda: len(seen(installation)) == 5)
                wait_until(store.sensors)
            ask(wire, range(6, 11))
            wait_until(lambda: spooled(tmp_path))
            process.kill()
            process.wait(60)
        with sensor(wire, tmp_path, port), api(installation, wire, pem, port):
            ask(wire, range(11, 16))
            wait_until(lambda: len(seen(installation)) >= 15 and not spooled(tmp_path))
        assert seen(installation) == sorted(f"10.9.0.{host}" for host in range(1, 16))
        counts = {event.src_ip: event.count for event in store.events(EventFilter(from_ns=0), 500)}
        assert set(counts.values()) == {1}
        (status,) = store.sensors()
        assert {event.sensor_id for event in store.events(EventFilter(from_ns=0), 500)} == {status.sensor_id}


def test_a_token_is_not_sent_in_the_clear(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("mc_")
    with pytest.raises(SetupError, match="https"):
        sink_of(Settings(state=tmp_path, api="http://molecatcher.example", token_file=token))
    with pytest.raises(SetupError, match="--token-file"):
        sink_of(Settings(state=tmp_path, api="https://molecatcher.example"))
    assert sink_of(Settings(state=tmp_path)) is None
