"""`molecatcher run` beside a real agent at somebody's own ingress: a name in no list, its zone delegated to ngrok."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from main_job import BASE, open_folder, running, wait_for
from netns import Network, needs_root
from stand_ins import CLIENT, GATEWAY, SERVER, TLS_SERVER, Internet, get_json, make_certificate, require_agent
from zones import resolve_from_root, serve_zones, wait_until_answered

pytestmark = needs_root

INGRESS, OTHER = "connect.myblog1.net", "www.myblog1.net"
ALIAS, OURS = "alias.myblog1.net", "tunnels.myblog1.net"
COMPANY_SERVERS, NGROK_SERVERS = "198.51.100.53", "198.51.100.54"
TREE = {
    ".": f"@ NS root.example.\nroot.example. A {COMPANY_SERVERS}",
    "net": "@ NS root.example.",
    "com": "@ NS root.example.",
    "ngrok-dns.com": f"@ NS ns1\nns1 A {NGROK_SERVERS}",
    "myblog1.net": f"@ NS root.example.\nconnect 300 NS ns1.ngrok-dns.com.\nwww 60 A {SERVER}",
}
ECHO_SERVER = TLS_SERVER.replace(
    "while stream.recv(4096):\n                pass",
    "while octets := stream.recv(4096):\n                stream.sendall(octets)",
)
DELEGATED = {INGRESS: f"@ 300 NS ns1.ngrok-dns.com.\n@ 60 A {SERVER}"}
POLICY = '[[sanctioned]]\ndomain = "{}"\nservice = "ngrok"\nowner = "o"\nreason = "r"\n'


IDLE_AGENT = """
import socket, ssl, sys, time
context = ssl.create_default_context(cafile=sys.argv[1])
with context.wrap_socket(socket.create_connection((sys.argv[2], 443)), server_hostname=sys.argv[2]) as stream:
    for _ in range(9):
        time.sleep(10)
        stream.sendall(b"beat")
        stream.recv(16)
"""


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Internet]:
    require_agent()
    with internet(tmp_path, TREE) as built:
        yield built


@contextmanager
def internet(tmp_path: Path, tree: dict[str, str]) -> Iterator[Internet]:
    """A client, and a server with a resolver, name servers of `tree` and ngrok's, and TLS for both names."""
    with Network() as network:
        client, server = network.host("client"), network.host("server")
        network.cable(client, "eth0", server, "eth0")
        client.address("eth0", f"{CLIENT}/24")
        addresses = [f"{address}/32" for address in (SERVER, COMPANY_SERVERS, NGROK_SERVERS)]
        server.address("eth0", f"{GATEWAY}/24", *addresses)
        client.ip(f"route add default via {GATEWAY}")
        serve_zones(server, tmp_path, COMPANY_SERVERS, tree)
        serve_zones(server, tmp_path, NGROK_SERVERS, DELEGATED)
        resolve_from_root(server, tmp_path, SERVER, COMPANY_SERVERS)
        client.nameserver(SERVER)
        wait_until_answered(client, SERVER, INGRESS)
        certificate = make_certificate(tmp_path, [INGRESS, OTHER, ALIAS, OURS])
        argv = [sys.executable, "-c", ECHO_SERVER, str(certificate)]
        tls = server.popen(argv, stdout=subprocess.PIPE, text=True)
        assert tls.stdout is not None
        assert tls.stdout.readline() == "ready\n"
        yield Internet(client, client, server, certificate)


def events(world: Internet) -> list[dict[str, Any]]:
    return list(get_json(world.monitor, f"{BASE}/v1/events")["items"])


def found(world: Internet, name: str) -> set[tuple[str, str, str]]:
    return {(row["verdict"], row["service"], row["role"]) for row in events(world) if row["dst_name"] == name}


@pytest.mark.parametrize(
    ("sanctioned", "verdict"), [("tunnels.example.com", "unsanctioned"), ("myblog1.net", "sanctioned")]
)
def test_who_serves_the_zone_tells_whose_ingress_it_is(world: Internet, sanctioned: str, verdict: str) -> None:
    """Nobody but the program asks for name servers, and it is not reported for that."""
    with open_folder() as folder:
        (folder / "policy.toml").write_text(POLICY.format(sanctioned))
        with running(world, folder / "state", "--interface", "eth0", "--policy", str(folder / "policy.toml")):
            with world.agent(OTHER), world.agent(INGRESS):
                wait_for(lambda: found(world, INGRESS) == {(verdict, "ngrok", "agent")})
            rows = events(world)
    assert {row["dst_name"] for row in rows} == ({INGRESS} if verdict == "unsanctioned" else {INGRESS, OTHER})
    evidence = {reason["evidence"] for row in rows for reason in row["reasons"]}
    assert ("ns_delegation" in evidence) == (verdict == "unsanctioned")


def test_an_alias_of_ngrok_s_name_is_found_and_the_sanctioned_name_stays_so_as_one(tmp_path: Path) -> None:
    """Both names are aliases of the same listed name and lead to the same address."""
    aliases = "".join(f"\n{name} 60 CNAME connect.ngrok-agent.com." for name in ("alias", "tunnels"))
    tree = TREE | {"ngrok-agent.com": f"@ NS root.example.\nconnect 60 A {SERVER}"}
    tree["myblog1.net"] += aliases
    with internet(tmp_path, tree) as world, open_folder() as folder:
        (folder / "policy.toml").write_text(POLICY.format(OURS))
        with running(world, folder / "state", "--interface", "eth0", "--policy", str(folder / "policy.toml")):
            with world.agent(ALIAS), world.agent(OURS):
                wait_for(lambda: {row["dst_name"] for row in events(world) if row["kind"] == "tls"} == {ALIAS, OURS})
            assert found(world, ALIAS) == {("unsanctioned", "ngrok", "agent")}
            assert found(world, OURS) == {("sanctioned", "ngrok", "agent")}


@pytest.mark.full
def test_an_idle_agent_at_an_address_of_agents_is_found_by_its_beat(tmp_path: Path) -> None:
    """Its hello is that of Python and names nobody; the kernel counts its packets, the sensor looks at the counts."""
    tree = TREE | {"ngrok-agent.com": f"@ NS root.example.\nconnect 60 A {SERVER}"}
    with (
        internet(tmp_path, tree) as world,
        open_folder() as folder,
        running(world, folder / "state", "--interface", "eth0"),
    ):
        known = folder / "state" / "agent_addresses.json"
        wait_for(lambda: known.exists() and SERVER in known.read_text())
        world.client.popen([sys.executable, "-c", IDLE_AGENT, str(world.certificate), OTHER])
        wait_for(lambda: found(world, OTHER) == {("suspicious", "ngrok", "agent")}, 110)
        (row,) = [row for row in events(world) if row["dst_name"] == OTHER]
    assert {reason["evidence"] for reason in row["reasons"]} == {"address", "heartbeat"}
