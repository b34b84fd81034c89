"""`molecatcher enforce` with the real nft, on a host and on a gateway of our own namespaces."""

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
from installation import wait_until
from netns import Host, Network, needs_root

pytestmark = needs_root

LISTED, OTHER, LISTED_SIX = "198.51.100.7", "198.51.100.8", "2001:db8:1::7"
PORT = 443
OWN, GATEWAY = "192.0.2.2", "192.0.2.1"


@dataclass
class World:
    """A client behind a gateway, and a server with a listed and another address; `where` enforces."""

    client: Host
    server: Host
    where: Host
    file: Path

    def enforce(self, *arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
        return self.where.run([sys.executable, "-m", "molecatcher", "enforce", *arguments], **options)

    def reaches(self, address: str) -> bool:
        return self.client.call(answers, address)


def answers(address: str) -> bool:
    try:
        with connect(address) as connection:
            return connection.recv(5) == b"hello"
    except OSError:
        return False


def connect(address: str) -> socket.socket:
    return socket.create_connection((address, PORT), timeout=30)


def serve(listener: socket.socket) -> None:
    """Greet whoever comes, and echo what he says."""
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=echo, args=(connection,), daemon=True).start()


def echo(connection: socket.socket) -> None:
    with connection:
        connection.sendall(b"hello")
        try:
            while said := connection.recv(100):
                connection.sendall(said)
        except OSError:
            return


def listen() -> socket.socket:
    return socket.create_server(("::", PORT), family=socket.AF_INET6, dualstack_ipv6=True)


@pytest.fixture(params=["host", "gateway"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    with Network() as network:
        client, gateway, server = (network.host(name) for name in ("client", "gateway", "server"))
        network.cable(client, "eth0", gateway, "lan0")
        network.cable(gateway, "wan0", server, "eth0")
        client.address("eth0", f"{OWN}/24", "2001:db8::2/64")
        gateway.address("lan0", f"{GATEWAY}/24", "2001:db8::1/64")
        gateway.address("wan0", "198.51.100.1/24", "2001:db8:1::1/64")
        server.address("eth0", f"{LISTED}/24", f"{OTHER}/24", f"{LISTED_SIX}/64")
        for host, four, six in ((client, GATEWAY, "2001:db8::1"), (server, "198.51.100.1", "2001:db8:1::1")):
            host.ip(f"route add default via {four}")
            host.ip(f"-6 route add default via {six}")
        gateway.sysctl("net/ipv4/ip_forward", 1)
        gateway.sysctl("net/ipv6/conf/all/forwarding", 1)
        file = tmp_path / "addresses.txt"
        file.write_text(f"{LISTED}\n{LISTED_SIX}\n")
        with closing(server.call(listen)) as listener:
            threading.Thread(target=serve, args=(listener,), daemon=True).start()
            yield World(client, server, client if request.param == "host" else gateway, file)
            listener.shutdown(socket.SHUT_RDWR)


def test_listed_addresses_are_refused_and_nothing_else_is(world: World) -> None:
    assert all(map(world.reaches, (LISTED, OTHER, LISTED_SIX)))
    world.enforce("show", str(world.file))
    assert world.reaches(LISTED), "a dry run changes nothing"
    world.enforce("apply", str(world.file))
    assert [world.reaches(address) for address in (LISTED, LISTED_SIX, OTHER)] == [False, False, True]
    world.file.write_text(f"{OTHER}\n")
    world.enforce("apply", str(world.file))
    assert [world.reaches(address) for address in (LISTED, LISTED_SIX, OTHER)] == [True, True, False]
    status = json.loads(world.enforce("status", "--format", "json").stdout)
    assert status["prefixes"] == 1
    assert status["refused_packets"] >= 3, "counters go on over renewals"
    assert world.enforce("remove").stdout == "removed\n"
    assert world.reaches(OTHER)
    assert world.enforce("status", check=False).returncode == 1
    assert world.enforce("remove").stdout == "nothing was enforced on this host\n"


@pytest.mark.parametrize("spare", [False, True])
def test_live_connections_are_reset_unless_they_are_spared(world: World, spare: bool) -> None:
    with world.client.call(connect, LISTED) as live:
        assert live.recv(5) == b"hello"
        world.enforce("apply", str(world.file), *(["--spare-live"] if spare else []))
        try:
            live.sendall(b"still there?")
            said = live.recv(100)
        except ConnectionError:
            said = b""
        assert said == (b"still there?" if spare else b"")
    assert not world.reaches(LISTED)


def test_a_host_cannot_lock_itself_out(world: World) -> None:
    own = OWN if world.where is world.client else "198.51.100.1"
    world.file.write_text(f"{own}\n{GATEWAY}\n{LISTED}\n{OTHER}\n")
    said = world.enforce("apply", str(world.file), "--protect", f"{OTHER}/32").stderr
    assert f"withheld {own}/32: this host's own address" in said
    near = "this host's gateway" if world.where is world.client else "this host's own address"
    assert f"withheld {GATEWAY}/32: {near}" in said
    assert f"withheld {OTHER}/32: protected by --protect" in said
    assert [world.reaches(address) for address in (LISTED, OTHER)] == [False, True]


@pytest.mark.parametrize("text", ["", "<html>", "0.0.0.0/0\n", "connect.ngrok-agent.com\n"])
def test_a_list_that_cannot_be_used_leaves_what_is_in_force(world: World, text: str) -> None:
    world.enforce("apply", str(world.file))
    world.file.write_text(text)
    done = world.enforce("apply", str(world.file), check=False)
    assert done.returncode == 1
    assert str(world.file) in done.stderr
    assert [world.reaches(address) for address in (LISTED, OTHER)] == [False, True]


def test_following_keeps_in_step_and_mends_what_others_flushed(world: World) -> None:
    argv = [sys.executable, "-m", "molecatcher", "enforce", "apply", str(world.file), "--follow", "0.2"]
    with world.where.popen(argv, stderr=subprocess.DEVNULL) as process:
        wait_until(lambda: not world.reaches(LISTED))
        world.file.write_text("")
        world.file.write_text(f"{OTHER}\n")
        wait_until(lambda: not world.reaches(OTHER) and world.reaches(LISTED))
        world.where.run(["nft", "flush", "ruleset"])
        wait_until(lambda: not world.reaches(OTHER))
        process.terminate()
        process.wait(60)
    assert not world.reaches(OTHER), "the rules stay when the program ends"


def test_answers_to_connections_from_outside_pass(world: World) -> None:
    world.enforce("apply", str(world.file))
    with closing(world.client.call(listen)) as listener:
        threading.Thread(target=serve, args=(listener,), daemon=True).start()
        assert world.server.call(answers, OWN)
        listener.shutdown(socket.SHUT_RDWR)
    assert not world.reaches(LISTED)


def test_without_the_right_one_sentence_says_so(world: World) -> None:
    argv = ["setpriv", "--inh-caps=-net_admin", "--bounding-set=-net_admin"]
    command = [sys.executable, "-m", "molecatcher", "enforce", "apply", str(world.file)]
    done = world.where.run([*argv, *command], check=False)
    assert done.returncode == 1
    assert "run as root or with CAP_NET_ADMIN" in done.stderr.replace("\n", " ")
