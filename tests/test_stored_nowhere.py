"""Secrets that come in by every way are then in no file, no log and no export: only what is sealed or hashed is."""

import base64
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest
from cable import Wire, open_wire
from crafted import switching, upgrade, write_pcap
from frames import SERVER, Conversation
from installation import wait_until
from main_job import BASE, open_folder, running
from netns import needs_root

from sensor.packet import Packet

pytestmark = needs_root
AGENT = "connect.ngrok-agent.com"
EXPORTS = ("native", "csv", "ocsf", "ecs", "cef")
JSON = {"Content-Type": "application/json"}


class Secrets:
    """Secrets, each made for one way in, and how each could be written."""

    def __init__(self) -> None:
        self.made: dict[str, str] = {}

    def new(self, way: str) -> str:
        """Return the secret of a way in."""
        return self.made.setdefault(way, f"hunter2x{len(self.made):03}zq{abs(hash(way)) % 10**9:09}")

    def basic(self, way: str) -> str:
        """Return HTTP's Basic credentials with the secret of a way in."""
        return base64.b64encode(f"me:{self.new(way)}".encode()).decode()

    def note(self, way: str, secret: str) -> None:
        """Note a secret that the program made."""
        self.made[way] = secret

    def found(self, octets: bytes) -> set[str]:
        """Return the ways whose secrets are in `octets`."""
        forms = {way: (secret, base64.b64encode(f"me:{secret}".encode()).decode()) for way, secret in self.made.items()}
        return {way for way, ways in forms.items() if any(form.encode() in octets for form in ways)}


def conversations(secrets: Secrets, port: int) -> list[list[Packet]]:
    """Return what an agent and its proxy say in clear text, with secrets wherever people put them."""
    connect = f"CONNECT {AGENT}:443 HTTP/1.1\r\nHost: {AGENT}:443\r\n"
    connect += f"Proxy-Authorization: Basic {secrets.basic('CONNECT')}\r\n\r\n"
    socket = upgrade(
        f"/chisel?token={secrets.new('websocket query')}",
        Host=AGENT,
        Authorization=f"Bearer {secrets.new('websocket header')}",
        Cookie=f"sid={secrets.new('websocket cookie')}",
    )
    plain = f"GET http://me:{secrets.new('user in target')}@{AGENT}/a?key={secrets.new('query')} HTTP/1.1\r\n"
    plain += (
        f"Host: {AGENT}\r\nX-Api-Key: {secrets.new('header')}\r\nReferer: http://x/?s={secrets.new('referer')}\r\n\r\n"
    )
    posted = f"POST /login HTTP/1.1\r\nHost: {AGENT}\r\n\r\npassword={secrets.new('body')}"
    flows = []
    for at, (said, answer) in enumerate(
        [
            (connect.encode(), b"HTTP/1.1 200 OK\r\n\r\n"),
            (socket, switching()),
            (plain.encode(), f"HTTP/1.1 200 OK\r\nSet-Cookie: s={secrets.new('answer')}\r\n\r\n".encode()),
            (posted.encode(), b"HTTP/1.1 204 No Content\r\n\r\n"),
        ]
    ):
        flow = Conversation((f"10.9.0.{at}", port, SERVER, 8080))
        flows.append([*flow.open(), *flow.send(said), *flow.answer(answer)])
    return flows


def proxy_lines(secrets: Secrets) -> str:
    """Return lines of proxies' logs, squid's and combined."""
    target = f"http://me:{secrets.new('user in a log')}@{AGENT}/a?token={secrets.new('query in a log')}"
    squid = f"1795471704.732     22 10.1.2.3 TCP_MISS/200 650 GET {target} alice HIER_DIRECT/192.0.2.7 text/html\n"
    combined = '10.1.2.3 - alice [23/Nov/2026:19:00:00 +0000] "CONNECT {}:443 HTTP/1.1" 200 650 "{}" "agent"\n'
    return squid + combined.format(AGENT, f"http://a/?s={secrets.new('referer in a log')}")


def command(*argv: str | Path) -> bytes:
    """Return everything that a command says."""
    done = subprocess.run([sys.executable, "-m", "molecatcher", *argv], capture_output=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def call(client: httpx.Client, secrets: Secrets) -> None:
    """Send secrets to the API where they belong, and where they do not."""
    given = {"Authorization": f"Bearer {secrets.new('bearer')}", "Cookie": f"a={secrets.new('cookie')}"}
    for path in ("/v1/events", "/nowhere", "/feeds/unsanctioned-domains.txt", "/events", "/v1/events/export"):
        client.get(f"{path}?token={secrets.new('query of ' + path)}", headers=given)
        client.get(path, headers={"X-Api-Key": secrets.new("key of " + path)})
        client.get(path, headers={"Authorization": f"Basic {secrets.basic('basic of ' + path)}"})
    client.get(f"/feeds/t/{secrets.new('path token')}/unsanctioned-domains.txt")
    client.post("/sign-in/break-glass", data={"name": "me", "password": secrets.new("password")})
    client.post("/v1/findings:bulk", content=f'{{"ids": "{secrets.new("refused body")}"', headers=JSON)
    client.post("/v1/exceptions", json={"service": secrets.new("refused member"), "owner": "o", "reason": "r"})
    client.post("/v1/webhooks/none", content=secrets.new("webhook"), headers={"webhook-signature": "v1,c2VjcmV0"})
    key = {"Idempotency-Key": "8f0a4f6e"}
    hec = {"kind": "hec", "url": "https://splunk.example.com:8088", "token": secrets.new("token of an output")}
    client.post("/v1/outputs", json={"name": "hec", "target": hec}, headers=key).raise_for_status()
    hook = {"kind": "webhook", "url": "https://soar.example.com/in"}
    made = client.post("/v1/outputs", json={"name": "hook", "target": hook}, headers={"Idempotency-Key": "2"})
    secrets.note("secret of a webhook", made.json()["secret"])
    made = client.post("/v1/webhook-sources", json={"name": "soar"}, headers={"Idempotency-Key": "3"})
    secrets.note("secret of a source", made.json()["secret"])
    made = client.post("/v1/tokens", json={"name": "siem", "scopes": ["events:read"]}, headers={"Idempotency-Key": "4"})
    secrets.note("secret of a token", made.json()["token"].rpartition("_")[2])


def exported(client: httpx.Client) -> Iterator[tuple[str, bytes]]:
    """Yield everything that can be taken out again."""
    for name in EXPORTS:
        yield name, client.get("/v1/events/export", params={"format": name, "from": "2020-01-01T00:00:00Z"}).content
    for path in ("/v1/audit/export", "/v1/outputs", "/v1/webhook-sources", "/v1/findings", "/metrics", "/audit"):
        yield path, client.get(path).content
    for event in client.get("/v1/events", params={"from": "2020-01-01T00:00:00Z"}).json()["items"]:
        yield "packets", client.get(f"/v1/events/{event['event_id']}/evidence.pcap").content
        yield "event", client.get(f"/v1/events/{event['event_id']}").content
        yield "page", client.get(f"/events/{event['event_id']}").content


def stored(state: Path) -> Iterator[tuple[str, bytes]]:
    """Yield every file, and every value of the database, which pages may cut in two."""
    yield from ((str(path), path.read_bytes()) for path in state.rglob("*") if path.is_file())
    with sqlite3.connect(state / "molecatcher.db") as database:
        tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in tables:
            for row in database.execute(f'SELECT * FROM "{table}"'):  # noqa: S608 - a name that it told itself
                values = (value if isinstance(value, bytes) else str(value).encode() for value in row)
                yield table, b"\0".join(values)
    database.close()


def leaks(secrets: Secrets, *sources: Iterator[tuple[str, bytes]]) -> set[tuple[str, str]]:
    return {(where, way) for source in sources for where, octets in source for way in secrets.found(octets)}


def watched(wire: Wire, flows: list[list[Packet]], client: httpx.Client) -> None:
    """Have the sensor see the flows, and wait until they are stored with their packets."""
    for packet in (packet for flow in flows for packet in flow):
        wire.send(packet.data)
        time.sleep(0.002)
    wait_until(lambda: len(client.get("/v1/events").json()["items"]) >= len(flows))


@pytest.mark.full
def test_secrets_are_stored_nowhere() -> None:
    secrets = Secrets()
    with open_wire() as wire, open_folder() as folder:
        state, host = folder / "state", SimpleNamespace(monitor=wire.sensor)
        wire.sensor.ip("link set lo up")
        with (
            running(host, state, "--interface", "eth0"),  # type: ignore[arg-type]  # of a world, only the host is used
            httpx.Client(base_url=BASE, trust_env=False, timeout=60) as client,
        ):
            watched(wire, conversations(secrets, 41000), client)
            call(client, secrets)
            found = leaks(secrets, exported(client), stored(state))
            kept = b"".join(octets for name, octets in exported(client) if name == "packets")
        pcap, log = folder / "a.pcap", folder / "access.log"
        write_pcap(pcap, (packet for flow in conversations(secrets, 42000) for packet in flow))
        log.write_text(proxy_lines(secrets))
        said = [command(*argv, "--state", state, "--store") for argv in commands(pcap, log)]
        found |= leaks(secrets, stored(state), iter([("what commands say", b"".join(said))]))
        found |= leaks(secrets, iter([("the log", (folder / "log").read_bytes())]))
    assert found == set()
    assert b"Proxy-Authorization: xxxx" in kept
    assert all(AGENT.encode() in one for one in said)
    assert len(secrets.made) > 30


def commands(pcap: Path, log: Path) -> list[tuple[str | Path, ...]]:
    return [("replay", pcap, "--format", "json"), ("ingest-log", log, "--format", "json")]
