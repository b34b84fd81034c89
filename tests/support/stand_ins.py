"""A little internet for tests: a resolver, a TLS server that stands in for a tunnel service, a client with an agent."""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from dns_server import write_config
from netns import Host, Network
from zones import wait_until_answered

CLIENT, GATEWAY, SERVER = "192.0.2.2", "192.0.2.1", "198.51.100.7"
OUTSIDE, UPSTREAM = "203.0.113.2", "203.0.113.1"
MASQUERADE = """
table ip nat {
    chain postrouting {
        type nat hook postrouting priority srcnat;
        oifname "wan0" masquerade
    }
}
"""

TLS_SERVER = """
import socket, ssl, sys, threading
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[1])
listener = socket.create_server(("", 443))
print("ready", flush=True)
def answer(raw):
    try:
        with context.wrap_socket(raw, server_side=True) as stream:
            while stream.recv(4096):
                pass
    except OSError:
        pass
while True:
    raw, _ = listener.accept()
    threading.Thread(target=answer, args=(raw,), daemon=True).start()
"""

AGENT = """
import asyncio, sys, time
import ngrok
async def main():
    builder = ngrok.SessionBuilder().authtoken("2abcdefghijklmnopqrstuvwxyz_1234567890abcdefghijk")
    if len(sys.argv) > 2:
        builder = builder.server_addr(sys.argv[2])
    builder = builder.ca_cert(bytearray(open(sys.argv[1], "rb").read()))
    print(time.time(), flush=True)
    try:
        await asyncio.wait_for(builder.connect(), 4)
    except Exception as error:
        print(type(error).__name__, error)
asyncio.run(main())
"""


@dataclass(frozen=True, slots=True)
class Internet:
    """The host of the client, the one the main job runs on, the server's, and the certificate that the agent trusts."""

    client: Host
    monitor: Host
    server: Host
    certificate: Path

    @contextmanager
    def agent(self, server_name: str | None = None) -> Iterator[float]:
        """Run the real agent SDK against its default server or `server_name`; yield when it began to connect."""
        argv = [sys.executable, "-c", AGENT, str(self.certificate)]
        process = self.client.popen(
            [*argv, f"{server_name}:443"] if server_name else argv, stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        yield float(process.stdout.readline())
        process.wait(60)


@contextmanager
def internet(directory: Path, records: Mapping[str, tuple[str, ...]]) -> Iterator[Internet]:
    """Build it: the client's default route leads to a host that resolves `records` and answers TLS for those names."""
    with two_hosts() as (client, server):
        yield Internet(client, client, server, _serve(client, server, directory, records))


@contextmanager
def two_hosts() -> Iterator[tuple[Host, Host]]:
    """Yield a client, and the server that its default route leads to."""
    with Network() as network:
        client, server = network.host("client"), network.host("server")
        network.cable(client, "eth0", server, "eth0")
        client.address("eth0", f"{CLIENT}/24")
        server.address("eth0", f"{GATEWAY}/24", f"{SERVER}/32")
        client.ip(f"route add default via {GATEWAY}")
        yield client, server


@contextmanager
def internet_behind_a_gateway(directory: Path, records: Mapping[str, tuple[str, ...]]) -> Iterator[Internet]:
    """Build it with a masquerading gateway between client and server; the main job is to run on the gateway."""
    with Network() as network:
        client, gateway, server = network.host("client"), network.host("gateway"), network.host("server")
        network.cable(client, "eth0", gateway, "lan0")
        network.cable(gateway, "wan0", server, "eth0")
        client.address("eth0", f"{CLIENT}/24")
        gateway.address("lan0", f"{GATEWAY}/24")
        gateway.address("wan0", f"{OUTSIDE}/24")
        server.address("eth0", f"{UPSTREAM}/24", f"{SERVER}/32")
        client.ip(f"route add default via {GATEWAY}")
        gateway.ip(f"route add default via {UPSTREAM}")
        gateway.sysctl("net/ipv4/ip_forward", 1)
        gateway.nft(MASQUERADE)
        yield Internet(client, gateway, server, _serve(client, server, directory, records))


def _serve(client: Host, server: Host, directory: Path, records: Mapping[str, tuple[str, ...]]) -> Path:
    """Start resolver and TLS server, have the client ask there, and return the certificate."""
    certificate = make_certificate(directory, list(records))
    config = write_config(directory / "unbound.conf", f"{SERVER}@53", records)
    client.nameserver(SERVER)
    server.popen(["unbound", "-d", "-c", str(config)], stderr=subprocess.DEVNULL)
    tls = server.popen([sys.executable, "-c", TLS_SERVER, str(certificate)], stdout=subprocess.PIPE, text=True)
    assert tls.stdout is not None
    assert tls.stdout.readline() == "ready\n"
    wait_until_answered(client, SERVER, next(iter(records)))
    return certificate


def get_json(host: Host, url: str) -> Any:
    """Return the JSON that `url` answers on `host`."""
    return json.loads(host.run(["curl", "--silent", "--fail", "--max-time", "30", url]).stdout)


def make_certificate(directory: Path, names: Sequence[str], subject_name: str = "stand-in") -> Path:
    """Return a file with a certificate for these names, which signs itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject_name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = directory / "stand-in.pem"
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(certificate.public_bytes(pem) + private)
    return path


def require_agent() -> None:
    """Skip, visibly, where the agent SDK cannot be imported."""
    pytest.importorskip("ngrok", reason="the agent SDK has no wheel for this Python")
