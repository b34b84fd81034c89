"""A new host becomes a sensor with one command: a real API process over TLS, the sensor in a namespace."""

import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from cable import Wire, open_wire
from frames import RESOLVER, dns_query, udp
from free_ports import free_port
from installation import wait_until
from netns import needs_root
from stand_ins import make_certificate

from db.access.values import AuditFilter, TokenScope
from db.store import open_store
from db.values import EventFilter

pytestmark = needs_root
PROGRAM = [sys.executable, "-m", "molecatcher"]
POLICY = '[[sanctioned]]\ndomain = "tunnels.example.com"\nservice = "ngrok"\nowner = "o"\nreason = "r"\n'
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "SSL_CERT_FILE"}


@contextmanager
def running(wire: Wire, argv: Sequence[str], log: Path, word: str) -> Iterator[None]:
    """Run a process of the program in the namespace until it has said `word`, and end it."""
    with log.open("w") as file:
        process = wire.sensor.popen([*PROGRAM, *argv], stdout=file, stderr=file, env=ENVIRONMENT)
    try:
        wait_until(lambda: word in log.read_text() or process.poll() is not None)
        assert process.poll() is None, log.read_text()
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def program(wire: Wire, argv: Sequence[str], given: str = "") -> tuple[int, str, str]:
    """Run the program in the namespace to its end; return its status, standard output and error."""
    pipe = subprocess.PIPE
    process = wire.sensor.popen([*PROGRAM, *argv], stdin=pipe, stdout=pipe, stderr=pipe, env=ENVIRONMENT, text=True)
    out, said = process.communicate(given, timeout=60)
    return process.returncode, out, said


def enrolment_token(state: Path) -> str:
    argv = [
        *PROGRAM,
        "token",
        "create",
        "gateway",
        "--scope",
        "sensors:enrol",
        "--state",
        str(state),
        "--format",
        "json",
    ]
    made = subprocess.run(argv, check=True, capture_output=True, text=True)
    return str(json.loads(made.stdout)["token"])


def test_a_new_host_becomes_a_sensor(tmp_path: Path) -> None:
    central, own, port = tmp_path / "central", tmp_path / "own", free_port()
    pem, url = make_certificate(tmp_path, ["localhost"]), f"https://localhost:{port}"
    (tmp_path / "access.toml").write_text('require = true\nhosts = ["localhost"]\n')
    (tmp_path / "policy.toml").write_text(POLICY)
    serve = ["serve", "--state", str(central), "--listen", f"0.0.0.0:{port}", "--policy", str(tmp_path / "policy.toml")]
    serve += ["--access", str(tmp_path / "access.toml"), "--tls-cert", str(pem)]
    token = enrolment_token(central)
    enrol = ["enrol", url, "--state", str(own)]
    with open_wire() as wire, open_store(central / "molecatcher.db") as store:
        wire.sensor.ip("link set lo up")
        with running(wire, serve, tmp_path / "api.log", "api_started"):
            status, _, said = program(wire, enrol, token)
            assert (status, "cannot be reached (SSLError)" in said) == (1, True), said
            status, unit, said = program(wire, [*enrol, "--ca", str(pem)], token)
            assert status == 0, said
            assert "1 sanctioned ingress\n" in said
            assert unit.startswith("# https://localhost")
            assert "127.0.0.1" in unit.partition("IPAddressAllow=localhost ")[2]
            assert token not in unit + said
            assert_kept(own)
            assert "not enrolled" in program(wire, [*enrol, "--ca", str(pem)], token)[2]
            options = unit.partition("sensor ")[2].partition("\n")[0].split()
            with running(wire, ["sensor", *options, "--interface", "eth0"], tmp_path / "sensor.log", "listening"):
                query = dns_query("connect.ngrok-agent.com", ident=7)
                wire.send(udp(0, ("10.9.0.7", 5000, RESOLVER, 53), query).data)
                wait_until(lambda: [row.src_ip for row in store.events(EventFilter(from_ns=0), 9)] == ["10.9.0.7"])
                wait_until(store.sensors)
        (enrolled, own_token) = store.tokens()
        (sensor,) = store.sensors()
        assert enrolled.revoked_at_ns is not None
        assert (own_token.sensor_id, own_token.scopes) == (sensor.sensor_id, (TokenScope.EVENTS_WRITE,))
        assert sensor.rules_revision
        (noted,) = store.audit(AuditFilter(action="sensor.enrol"), 9)
        assert (noted.actor_id, noted.target) == (enrolled.token_id, sensor.sensor_id)


def assert_kept(state: Path) -> None:
    """What the command left is its owner's alone, and holds no private key."""
    for name in ("api_token", "api_ca.pem"):
        assert stat.S_IMODE((state / name).stat().st_mode) == 0o600, name
    assert (state / "api_token").read_text().startswith("mc_")
    assert "PRIVATE" not in (state / "api_ca.pem").read_text()
    assert (state / "api_rules.json").exists()


def test_a_token_is_not_sent_in_the_clear_and_a_wrong_authority_is_said(tmp_path: Path) -> None:
    (tmp_path / "empty.pem").write_text("nothing")
    for argv, word in (
        (["http://molecatcher.example"], "not sent in the clear"),
        (["https://localhost:1", "--ca", str(tmp_path / "empty.pem")], "holds no certificate"),
        (["https://localhost:1"], "not enrolled"),
    ):
        command = [*PROGRAM, "enrol", *argv, "--state", str(tmp_path / "state")]
        ended = subprocess.run(command, check=False, input="mc_x", capture_output=True, text=True)
        assert (ended.returncode, word in ended.stderr) == (1, True), ended.stderr
        assert not (tmp_path / "state" / "api_token").exists()
