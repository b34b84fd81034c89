import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from installation import wait_until
from netns import Host, Network, needs_root

from sensor.capture.live.interfaces import (
    IFF_LOOPBACK,
    IFF_LOWER_UP,
    IFF_UP,
    Choice,
    Link,
    Nat,
    Topology,
    choose,
    choose_interfaces,
)
from sensor.capture.live.link_watcher import LinkWatcher
from sensor.capture.live.live import LiveSource
from sensor.packet import Packet

UP = IFF_UP | IFF_LOWER_UP
MASQUERADE = "table ip nat {\n chain out {\n type nat hook postrouting priority 100;\n oifname eth0 masquerade\n }\n}\n"
SOURCE_NAT = MASQUERADE.replace("masquerade", "snat to 203.0.113.2")
ACCEPT = MASQUERADE.replace("masquerade", "accept")
AS_NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all", "--bounding-set=-all"]


@dataclass(frozen=True)
class Site:
    """A client behind a gateway (inside `eth1`, outside `eth0`) that reaches a server."""

    network: Network
    client: Host
    gateway: Host
    server: Host

    def choose(self, *explicit: str) -> Choice:
        return self.gateway.call(choose_interfaces, explicit)


@pytest.fixture
def site() -> Iterator[Site]:
    with Network() as network:
        client, gateway, server = network.host("client"), network.host("gateway"), network.host("server")
        network.cable(gateway, "eth1", client, "eth0")
        network.cable(gateway, "eth0", server, "eth0")
        client.address("eth0", "10.0.0.2/24", "fd00:1::2/64")
        gateway.address("eth1", "10.0.0.1/24", "fd00:1::1/64")
        gateway.address("eth0", "203.0.113.2/24", "fd00:2::2/64")
        server.address("eth0", "203.0.113.1/24", "fd00:2::1/64")
        client.ip("route add default via 10.0.0.1")
        gateway.ip("route add default via 203.0.113.1")
        yield Site(network, client, gateway, server)


@needs_root
def test_a_host_listens_on_its_default_route(site: Site) -> None:
    assert site.client.call(choose_interfaces) == Choice(("eth0",), "default route", is_gateway=False)


@needs_root
def test_a_second_network_makes_no_gateway(site: Site) -> None:
    assert site.choose() == Choice(("eth0",), "default route", is_gateway=False)


@needs_root
@pytest.mark.parametrize(
    "route",
    [
        "-6 route add default via fd00:1::2 dev eth1",
        "route add default via 10.0.0.2 metric 500",
        "route replace default nexthop via 203.0.113.1 nexthop via 10.0.0.2",
        "route add default via 10.0.0.2 table 1000",
        "route add 128.0.0.0/1 via 10.0.0.2",
        "-6 route add 2000::/3 via fd00:1::2",
    ],
)
def test_every_default_route_counts(site: Site, route: str) -> None:
    site.gateway.ip(route)
    site.gateway.sysctl("net/ipv4/ip_forward", 1)
    choice = site.choose()
    assert sorted(choice.interfaces) == ["eth0", "eth1"]
    assert choice.reason == "default route"


@needs_root
def test_a_route_to_nowhere_is_no_default_route(site: Site) -> None:
    site.gateway.ip("route replace blackhole default")
    assert site.choose() == Choice((), "no default route: waiting", is_gateway=False)


@needs_root
@pytest.mark.parametrize(
    ("rules", "told"),
    [
        (MASQUERADE, "it masquerades (nftables)"),
        (SOURCE_NAT, "it masquerades (nftables)"),
        (ACCEPT, "no nftables NAT rule (rules of legacy iptables cannot be seen)"),
        ("", "no nftables NAT rule (rules of legacy iptables cannot be seen)"),
    ],
)
def test_a_gateway_listens_inside(site: Site, rules: str, told: str) -> None:
    site.gateway.sysctl("net/ipv4/ip_forward", 1)
    site.gateway.nft(rules)
    assert site.choose() == Choice(("eth1",), f"gateway: forwards from eth1 to eth0; {told}", is_gateway=True)


@needs_root
def test_a_gateway_of_ipv6_alone_is_one(site: Site) -> None:
    site.gateway.ip("address flush dev eth1")
    site.gateway.ip("address add fd00:1::1/64 dev eth1")
    site.gateway.sysctl("net/ipv4/ip_forward", 1)
    assert not site.choose().is_gateway
    site.gateway.ip("-6 route add default via fd00:2::1")
    site.gateway.sysctl("net/ipv6/conf/all/forwarding", 1)
    assert site.choose().interfaces == ("eth1",)


@needs_root
def test_without_privileges_nat_is_not_known(site: Site) -> None:
    site.gateway.sysctl("net/ipv4/ip_forward", 1)
    site.gateway.nft(MASQUERADE)
    code = "from sensor.capture.live.interfaces import choose_interfaces; print(choose_interfaces().reason)"
    if not can_nobody_run():
        pytest.skip("the checkout cannot be read by another user")
    done = site.gateway.run([*AS_NOBODY, sys.executable, "-c", code], cwd="/")
    assert done.stdout.strip() == "gateway: forwards from eth1 to eth0; could not read NAT rules"


def can_nobody_run() -> bool:
    code = [*AS_NOBODY, sys.executable, "-c", "import sensor.capture.live.interfaces"]
    return subprocess.run(code, check=False, capture_output=True, cwd="/").returncode == 0


@needs_root
def test_behind_nat_the_inside_shows_the_client(site: Site) -> None:
    site.gateway.sysctl("net/ipv4/ip_forward", 1)
    site.gateway.nft(MASQUERADE)

    def ask() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"who asks?", ("203.0.113.1", 53))

    with site.gateway.inside(), LiveSource(choose_interfaces().interfaces) as source:
        site.client.call(ask)
        packets = capture(source, 0.5)
    asked = [packet.data for packet in packets if packet.data[23] == socket.IPPROTO_UDP and b"who asks?" in packet.data]
    sources = [socket.inet_ntoa(data[26:30]) for data in asked]
    assert sources == ["10.0.0.2"]


def capture(source: LiveSource, duration_s: float) -> list[Packet]:
    packets: list[Packet] = []
    end = time.monotonic() + duration_s
    while time.monotonic() < end:
        packets += source.read(0.1) or ()
    return packets


@needs_root
@pytest.mark.parametrize("cut", ["gateway", "client"])
def test_an_inside_without_carrier_is_none(site: Site, cut: str) -> None:
    site.gateway.sysctl("net/ipv4/ip_forward", 1)
    host, interface = (site.gateway, "eth1") if cut == "gateway" else (site.client, "eth0")
    host.ip(f"link set {interface} down")
    assert site.choose() == Choice(("eth0",), "default route", is_gateway=False)


def bridge(site: Site, name: str) -> None:
    """Move the gateway's inside to a bridge over `eth1`."""
    site.gateway.ip("address flush dev eth1")
    site.gateway.ip(f"link add {name} type bridge")
    site.gateway.ip(f"link set eth1 master {name}")
    site.gateway.address(name, "10.0.0.1/24")
    site.gateway.sysctl("net/ipv4/ip_forward", 1)


@needs_root
def test_a_bridge_is_listened_on_instead_of_its_ports(site: Site) -> None:
    bridge(site, "br0")
    site.gateway.ip("address add 10.9.0.1/24 dev eth1")
    wait_until(lambda: site.choose().is_gateway)  # a bridge has its carrier a moment after its port
    assert site.choose().interfaces == ("br0",)


@needs_root
def test_containers_make_no_gateway(site: Site) -> None:
    bridge(site, "docker0")
    wait_until(lambda: site.choose().reason != "default route")
    choice = site.choose()
    assert (choice.interfaces, choice.is_gateway) == (("eth0",), False)
    assert "forwarding is on for docker0" in choice.reason
    assert "--interface" in choice.reason


@needs_root
def test_a_named_interface_wins_once(site: Site) -> None:
    site.gateway.sysctl("net/ipv4/ip_forward", 1)
    choice = site.choose("eth0", "wlan9", "eth0")
    assert choice == Choice(("eth0", "wlan9"), "named with --interface", is_gateway=True)


@needs_root
def test_a_default_route_that_appears_is_followed(site: Site) -> None:
    site.gateway.ip("route delete default")
    with site.gateway.inside():
        watcher = LinkWatcher()
        try:
            assert choose_interfaces() == Choice((), "no default route: waiting", is_gateway=False)
            assert not watcher.has_changed()
            site.gateway.ip("route add default via 203.0.113.1")
            assert watcher.has_changed()
            assert choose_interfaces().interfaces == ("eth0",)
        finally:
            watcher.close()


@needs_root
def test_a_vlan_below_a_chosen_interface_is_not_counted_twice(site: Site) -> None:
    added = site.gateway.run(
        ["ip", "link", "add", "link", "eth1", "name", "eth1.10", "type", "vlan", "id", "10"], check=False
    )
    if added.returncode != 0:
        pytest.skip(f"this kernel has no VLAN devices: {added.stderr.strip()}")
    site.gateway.address("eth1.10", "10.0.10.1/24")
    site.gateway.sysctl("net/ipv4/ip_forward", 1)
    assert site.choose().interfaces == ("eth1",)


LO = Link(1, "lo", UP | IFF_LOOPBACK)
OUTSIDE = Link(2, "eth0", UP)
INSIDE = Link(3, "eth1", UP)
VLAN = Link(4, "eth1.10", UP, "vlan", parent=3)
OUTSIDE_VLAN = Link(5, "eth1.99", UP, "vlan", parent=3)
VRF = Link(6, "vrf0", UP, "vrf")
BOND = Link(7, "bond0", UP, "bond")


@pytest.mark.parametrize(
    ("name", "links", "default", "subnets", "expected"),
    [
        ("a VLAN beside its parent", (OUTSIDE, INSIDE, VLAN), {2}, {2, 3, 4}, ("eth1",)),
        ("a VLAN without its parent", (OUTSIDE, INSIDE, VLAN), {2}, {2, 4}, ("eth1.10",)),
        ("a router on a stick", (INSIDE, VLAN, OUTSIDE_VLAN), {5}, {4, 5}, ("eth1.10",)),
        ("default routes of both", (INSIDE, VLAN), {3, 4}, {3, 4}, ("eth1",)),
        ("the loopback", (LO, OUTSIDE), {2}, {1, 2}, ("eth0",)),
        ("a default route on the loopback", (LO, OUTSIDE), {1}, {2}, ()),
        ("a VRF's interface", (OUTSIDE, Link(3, "eth1", UP, master=6), VRF), {2}, {3}, ("eth1",)),
        ("a bond's port", (OUTSIDE, Link(3, "eth1", UP, master=7), BOND), {2}, {3, 7}, ("bond0",)),
        ("an inside interface that is down", (OUTSIDE, Link(3, "eth1", IFF_UP)), {2}, {3}, ("eth0",)),
    ],
)
def test_topologies(
    name: str, links: tuple[Link, ...], default: set[int], subnets: set[int], expected: tuple[str, ...]
) -> None:
    topology = Topology(links, frozenset(default), frozenset(subnets), Nat.UNREADABLE)
    assert choose(topology).interfaces == expected, name


def test_this_machine_can_be_read() -> None:
    choice = choose_interfaces()
    assert choice.reason
    assert all(Path("/sys/class/net", name).exists() for name in choice.interfaces)
