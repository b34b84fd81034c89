"""Record idle connections into pcaps/, with their manifests: real agents, and programs that beat for other reasons.

PYTHONPATH=tests/support python tests/support/record_idle.py FOLDER [NAME]...    # where `npm install` put the agents
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import ngrok_server
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from dns_server import write_config
from everyday import office, recorded
from main_job import open_folder
from netns import Host
from record_everyday import manifest
from recordings import CAPTURES
from stand_ins import SERVER, two_hosts

IDLE_S = 200
INGRESS = "connect.partner.example"
SUSPICIOUS = {"verdict": "suspicious", "service": "ngrok", "role": "agent"}
NOBODY = "2abcdefghijklmnopqrstuvwxyz_1234567890abcdefghijk"
NODE = """
const [folder, where, ca, seconds] = process.argv.slice(1);
const ngrok = require(folder + "/node_modules/@ngrok/ngrok");
(async () => {
  const session = await new ngrok.SessionBuilder().authtoken("%s").serverAddr(where).rootCas(ca).connect();
  await session.httpEndpoint().listen();
  setTimeout(() => process.exit(0), seconds * 1000);
})().catch(error => { console.error(error); process.exit(1); });
"""
# Both hold for as long as the recording runs, and neither is a tunnel.
CHAT = """
import socket, ssl, sys, time
import wsproto, wsproto.events as events
stream = ssl._create_unverified_context().wrap_socket(
    socket.create_connection((sys.argv[1], 443)), server_hostname=sys.argv[1]
)
chat = wsproto.WSConnection(wsproto.ConnectionType.CLIENT)
stream.sendall(chat.send(events.Request(host=sys.argv[1], target="/socket")))
chat.receive_data(stream.recv(65536))
for number in range(int(sys.argv[2]) // 10):
    stream.sendall(chat.send(events.Ping(payload=number.to_bytes(4, "big"))))
    chat.receive_data(stream.recv(65536))
    time.sleep(10)
"""
HTTP2 = """
import socket, ssl, sys, time
import h2.connection
context = ssl._create_unverified_context()
context.set_alpn_protocols(["h2"])
stream = context.wrap_socket(socket.create_connection((sys.argv[1], 443)), server_hostname=sys.argv[1])
http = h2.connection.H2Connection()
http.initiate_connection()
for number in range(int(sys.argv[2]) // 10):
    http.ping(number.to_bytes(8, "big"))
    stream.sendall(http.data_to_send())
    http.receive_data(stream.recv(65536))
    stream.sendall(http.data_to_send())
    time.sleep(10)
"""


@dataclass(frozen=True, slots=True)
class World:
    """The client's host, and the certificate it is to trust."""

    client: Host
    authority: Path


@contextmanager
def world(folder: Path) -> Iterator[World]:
    """Yield a client whose names all lead to a stand-in of ngrok's server. Nothing leads out."""
    with two_hosts() as (client, server):
        client.nameserver(SERVER)
        records = {INGRESS: (SERVER,), "update.equinox.io": (SERVER,)}
        config = write_config(folder / "unbound.conf", f"{SERVER}@53", records)
        server.popen(["unbound", "-d", "-c", str(config)], stderr=subprocess.DEVNULL)
        authority, certificate = make_chain(folder, INGRESS)
        argv = [sys.executable, ngrok_server.__file__, str(certificate)]
        process = server.popen(argv, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield World(client, authority)


def make_chain(folder: Path, name: str) -> tuple[Path, Path]:
    """Return files with an authority's certificate, and with one for `name` that it signed and its key."""
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
    subjects = [x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)]) for text in ("stand-in", name)]
    now, pem = datetime.now(UTC), serialization.Encoding.PEM
    made = []
    for key, subject, is_authority in zip(keys, subjects, (True, False), strict=True):
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(subjects[0]).public_key(key.public_key())
        builder = builder.serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
        builder = builder.add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        made.append(builder.sign(keys[0], hashes.SHA256()).public_bytes(pem))
    private = keys[1].private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    authority, leaf = folder / "authority.pem", folder / "leaf.pem"
    authority.write_bytes(made[0])
    leaf.write_bytes(made[1] + private)
    return authority, leaf


def agent_2(here: World, folder: Path, packages: Path) -> None:
    """Run the agent of 2.3 with an ingress that no list knows. It looks for an update and is refused."""
    config = folder / "ngrok.yml"
    config.write_text(f"authtoken: {NOBODY}\nserver_addr: {INGRESS}:443\nroot_cas: {here.authority}\n")
    program = packages / "node_modules/@expo/ngrok-bin-linux-x64/ngrok"
    argv = ["timeout", str(IDLE_S), str(program), "http", "-config", str(config), "-log", "stdout", "8080"]
    said = here.client.run(argv, check=False, timeout=IDLE_S + 30).stdout
    assert "started tunnel" in said, said


def node_sdk(here: World, _folder: Path, packages: Path) -> None:
    options = [str(packages), f"{INGRESS}:443", str(here.authority), str(IDLE_S)]
    here.client.run(["node", "-e", NODE % NOBODY, *options], timeout=IDLE_S + 30)


AGENTS = {
    "ngrok2-idle": (agent_2, "ngrok v2 agent (@expo/ngrok-bin-linux-x64)", [SUSPICIOUS]),
    "ngrok-node-idle": (node_sdk, "@ngrok/ngrok (npm SDK)", []),
}


def version(packages: Path, client: str) -> str:
    name = "@ngrok/ngrok" if client.startswith("@ngrok/ngrok") else "@expo/ngrok-bin-linux-x64"
    return str(json.loads((packages / "node_modules" / name / "package.json").read_text())["version"])


def ordinary(client: Host, folder: Path) -> None:
    """Keep connections of SSH, HTTP/2 and a WebSocket alive every ten seconds, as idle agents are."""
    options = ["-F", "none", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]
    options += ["-o", "ServerAliveInterval=10", "-i", str(folder / "key")]
    commands = [
        ["ssh", *options, "root@shell.example.com", f"sleep {IDLE_S}"],
        [sys.executable, "-c", CHAT, "chat.example.com", str(IDLE_S)],
        [sys.executable, "-c", HTTP2, "www.example.com", str(IDLE_S)],
    ]
    for process in [client.popen(argv) for argv in commands]:
        assert process.wait(IDLE_S + 30) == 0, process.args


def write_manifest(path: Path, client: str, version: str, **more: object) -> None:
    made = manifest(path, path.stem, client, version) | more
    path.with_suffix(".json").write_text(json.dumps(made, indent=1) + "\n")


def record_agent(name: str, packages: Path) -> None:
    run, client, expected = AGENTS[name]
    path = CAPTURES / f"{name}.pcap"
    with open_folder() as folder, world(folder) as here, recorded(here.client, path):
        run(here, folder, packages)
    how = f"tests/support/record_idle.py: idle at {INGRESS}; tests/support/ngrok_server.py answers its heartbeats"
    write_manifest(path, client, version(packages, client), expected=expected, how=how)


def record_ordinary() -> None:
    path = CAPTURES / "benign-idle.pcap"
    with open_folder() as folder, office(folder) as client, recorded(client, path):
        ordinary(client, folder)
    how = "tests/support/record_idle.py against the stand-in servers of everyday_servers.py: kept alive every 10 s"
    write_manifest(path, "OpenSSH with ServerAliveInterval=10, h2, wsproto", "", how=how)


def main(packages: Path, wanted: list[str]) -> None:
    for name in wanted or [*AGENTS, "benign-idle"]:
        if name in AGENTS:
            record_agent(name, packages)
        else:
            record_ordinary()


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve(), sys.argv[2:])
