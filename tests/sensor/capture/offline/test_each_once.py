"""A gateway, a bridge or a pair of namespaces that shows the same packets on two interfaces: each flow is seen once."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cable import drain
from frames import dns_answer, dns_query, last_revisions
from hellos import hello_message, records, server_name
from netns import Host, Network, needs_root

from rules.values.observation import Kind, Observation
from sensor.capture.filter.flow_counts import count_key
from sensor.capture.filter.flow_heads import FlowHeads
from sensor.capture.filter.limits import Limits
from sensor.capture.filter.packet_filter import EveryIpPacket
from sensor.capture.filter.program_heads import ProgramHeads
from sensor.capture.live.engine import choose_engine
from sensor.capture.live.live import LiveSource
from sensor.capture.live.namespaces import Namespaces
from sensor.capture.live.plain import IS_COMPILED, PlainTap
from sensor.capture.live.ring import RingTap
from sensor.capture.live.sockets import Engine
from sensor.pipeline import Pipeline

pytestmark = needs_root

INSIDE, SERVER, NAME = "192.0.2.2", "198.51.100.7", "connect.ngrok-agent.com"
MASQUERADE = (
    'table ip nat { chain out { type nat hook postrouting priority srcnat; oifname "wan0" masquerade random; }; }'
)
BULK = bytes(200_000)


@contextmanager
def gateway_between() -> Iterator[tuple[Host, Host, Host]]:
    """A client, a gateway (`lan0`, `wan0`) that forwards, and a server that answers a name's look-up and a hello."""
    with Network() as network:
        client, gateway, server = (network.host(name) for name in ("client", "gateway", "server"))
        network.cable(client, "eth0", gateway, "lan0")
        network.cable(gateway, "wan0", server, "eth0")
        client.address("eth0", f"{INSIDE}/24")
        gateway.address("lan0", "192.0.2.1/24")
        gateway.address("wan0", "203.0.113.2/24")
        server.address("eth0", "203.0.113.1/24", f"{SERVER}/32")
        client.ip("route add default via 192.0.2.1")
        gateway.ip("route add default via 203.0.113.1")
        server.ip("route add 192.0.2.0/24 via 203.0.113.2")
        gateway.sysctl("net/ipv4/ip_forward", 1)
        yield client, gateway, server


def ask_and_connect(client: Host, server: Host) -> None:
    """Look a name up, then connect to its address, say hello and take some bulk."""
    resolver = server.call(bound_resolver)
    listener = server.call(socket.create_server, (SERVER, 443))
    threads = [
        threading.Thread(target=answer_one, args=(resolver,)),
        threading.Thread(target=send_bulk, args=(listener,)),
    ]
    for thread in threads:
        thread.start()
    client.call(look_up)
    client.call(say_hello)
    for thread in threads:
        thread.join()


def bound_resolver() -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((SERVER, 53))
    sock.settimeout(60)
    return sock


def answer_one(resolver: socket.socket) -> None:
    with resolver:
        _, client = resolver.recvfrom(512)
        resolver.sendto(dns_answer(NAME, [SERVER]), client)


def send_bulk(listener: socket.socket) -> None:
    with listener:
        stream, _ = listener.accept()
    with stream:
        stream.recv(4096)
        stream.sendall(b"\x16\x03\x03" + BULK)


def look_up() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(60)
        sock.sendto(dns_query(NAME), (SERVER, 53))
        sock.recv(512)


def say_hello() -> None:
    with socket.create_connection((SERVER, 443), 60) as stream:
        stream.sendall(records(hello_message(server_name(NAME.encode()))))
        while stream.recv(1 << 16):
            pass


def observed(source: LiveSource) -> tuple[Pipeline, list[Observation]]:
    pipeline = Pipeline()
    found = pipeline.feed_batch(drain(source, 0.4))
    return pipeline, last_revisions(found + pipeline.flush())


def every_packet() -> Engine:
    return Engine("every packet", "", EveryIpPacket(), PlainTap)


def flow_heads() -> Engine:
    return choose_engine(Limits(flows=256))


def program_heads() -> Engine:
    return Engine("ring", "", ProgramHeads(Limits(flows=256)), RingTap)


ENGINES = [every_packet, flow_heads, *([program_heads] if IS_COMPILED else [])]


def assert_seen_once(source: LiveSource, interface: str) -> None:
    """That the look-up and the flow came once, from `interface`, with the client's own address."""
    pipeline, found = observed(source)
    assert sorted(row.kind for row in found) == [Kind.DNS, Kind.TLS]
    assert {row.five_tuple.src for row in found} == {socket.inet_aton(INSIDE)}
    assert {row.interface for row in found} == {interface}
    assert {name for row in found if row.kind is Kind.TLS for name in row.told_names} == {NAME}
    assert pipeline.counters.conflicts == 0
    assert pipeline.counters.flows == 1
    assert source.counters().copies > 0


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("rules", ["", MASQUERADE])
def test_both_sides_of_a_gateway_show_a_flow_once(engine: Callable[[], Engine], rules: str) -> None:
    with gateway_between() as (client, gateway, server), gateway.inside():
        gateway.nft(rules)
        with LiveSource(("wan0", "lan0"), engine()) as source:
            ask_and_connect(client, server)
            assert_seen_once(source, "lan0")


@pytest.mark.parametrize("rules", ["", MASQUERADE])
def test_a_client_and_its_gateway_in_one_sensor_show_a_flow_once(rules: str) -> None:
    with gateway_between() as (client, gateway, server):
        gateway.nft(rules)
        namespaces = Namespaces(client.namespace, gateway.namespace, server.namespace)
        own = f"{client.namespace}/eth0"
        wanted = (f"{server.namespace}/eth0", f"{gateway.namespace}/wan0", f"{gateway.namespace}/lan0", own)
        with LiveSource(wanted, flow_heads(), namespaces) as source:
            ask_and_connect(client, server)
            assert_seen_once(source, own)
        namespaces.close()


def test_the_kernel_counts_once_what_several_namespaces_show() -> None:
    """Interfaces of different namespaces have the same numbers; the flow's packets are those of one interface."""
    with gateway_between() as (client, gateway, server):
        namespaces = Namespaces(client.namespace, gateway.namespace)
        own = f"{client.namespace}/eth0"
        several, alone = FlowHeads(Limits(flows=256)), FlowHeads(Limits(flows=256))
        wanted = (own, f"{gateway.namespace}/lan0", f"{gateway.namespace}/wan0")
        with (
            LiveSource(wanted, Engine("", "", several, RingTap), namespaces) as source,
            LiveSource((own,), Engine("", "", alone, RingTap), namespaces) as one,
        ):
            ask_and_connect(client, server)
            key, _ = count_key(observed(source)[1][-1].five_tuple)
            drain(one)
            counts = [dict(heads.flow_counts)[key] for heads in (several, alone)]
        namespaces.close()
    assert counts[0].packets == counts[1].packets
    assert min(counts[0].packets) > 2


def test_with_asymmetric_routes_both_directions_make_one_flow() -> None:
    """What the client sends leaves by one interface of the gateway, what it gets comes by the other."""
    with gateway_between() as (client, gateway, server):
        gateway.ip("link add wan1 type veth peer name eth1 netns " + server.namespace)
        gateway.address("wan1", "203.0.114.2/24")
        server.address("eth1", "203.0.114.1/24")
        server.ip("route replace 192.0.2.0/24 via 203.0.114.2")
        for host in (gateway, server):
            for name in host.call(lambda: [row.name for row in Path("/proc/sys/net/ipv4/conf").iterdir()]):
                host.sysctl(f"net/ipv4/conf/{name}/rp_filter", 0)
        with gateway.inside(), LiveSource(("wan0", "wan1"), flow_heads()) as source:
            ask_and_connect(client, server)
            pipeline, found = observed(source)
    assert sorted(row.kind for row in found) == [Kind.DNS, Kind.TLS]
    assert {row.state.value for row in found if row.kind is Kind.TLS} == {"live"}
    assert pipeline.counters.flows == 1


@pytest.mark.parametrize("engine", ENGINES)
def test_a_bridge_and_its_port_show_a_flow_once(engine: Callable[[], Engine]) -> None:
    with gateway_between() as (client, gateway, server):
        gateway.ip("link add br0 type bridge")
        gateway.ip("address del 192.0.2.1/24 dev lan0")
        gateway.ip("link set lan0 master br0")
        gateway.address("br0", "192.0.2.1/24")
        with gateway.inside(), LiveSource(("br0", "lan0"), engine()) as source:
            ask_and_connect(client, server)
            pipeline, found = observed(source)
    assert sorted(row.kind for row in found) == [Kind.DNS, Kind.TLS]
    assert pipeline.counters.flows == 1
