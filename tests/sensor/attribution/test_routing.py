import subprocess
from collections.abc import Iterator
from ipaddress import ip_address

import pytest
from netns import Host, Network, needs_root

from sensor.attribution.routing import Routing

pytestmark = needs_root
MAC = "02:00:00:00:00:07"


@pytest.fixture
def host() -> Iterator[Host]:
    with Network() as network:
        one, other = network.host("one"), network.host("other")
        network.cable(one, "eth0", other, "eth0")
        one.address("eth0", "192.0.2.1/24")
        one.address("eth0", "2001:db8::1/64")
        yield one


def local(routing: Routing, *addresses: str) -> list[bool]:
    return [routing.is_local(ip_address(address).packed) for address in addresses]


def test_what_stays_on_a_host_is_local_whatever_the_interface(host: Host) -> None:
    inside, outside = host.call(Routing), Routing()
    own = ("192.0.2.1", "2001:db8::1", "127.0.0.1", "127.7.7.7", "::1")
    assert local(inside, *own) == [True] * 5
    assert local(inside, "192.0.2.2", "2001:db8::2", "198.51.100.9", "192.0.2.255", "::") == [False] * 5
    assert local(outside, "192.0.2.1", "2001:db8::1") == [False, False]
    host.ip("route add local 203.0.113.0/24 dev lo")
    assert local(inside, "203.0.113.77") == [True]
    host.ip("address del 192.0.2.1/24 dev eth0")
    assert local(inside, "192.0.2.1") == [False]
    inside.close()
    outside.close()


def test_a_namespace_without_any_address_has_no_local_one(host: Host) -> None:
    subprocess.run(["ip", "-n", host.namespace, "link", "set", "lo", "down"], check=True)
    host.ip("address flush dev eth0")
    routing = host.call(Routing)
    assert local(routing, "10.1.2.3", "192.0.2.1") == [False, False]
    routing.close()


def test_addresses_are_those_of_all_interfaces(host: Host) -> None:
    routing = host.call(Routing)
    wanted = {ip_address(address).packed for address in ("192.0.2.1", "2001:db8::1", "127.0.0.1", "::1")}
    assert wanted <= routing.addresses()
    host.ip("address add 192.0.2.9 peer 192.0.2.10 dev eth0")
    assert ip_address("192.0.2.9").packed in routing.addresses()
    assert ip_address("192.0.2.10").packed not in routing.addresses()
    routing.close()


def test_neighbours_have_hardware_addresses_by_both_families(host: Host) -> None:
    routing = host.call(Routing)
    for address in ("192.0.2.7", "2001:db8::7", *(f"192.0.2.{number}" for number in range(20, 250))):
        host.ip(f"neighbour add {address} lladdr {MAC} dev eth0")
    host.ip("neighbour add 192.0.2.8 nud incomplete dev eth0")
    found = routing.neighbours()
    assert list(found.values()).count(MAC) == 232  # more than one message holds
    assert "192.0.2.8" not in found
    assert found["192.0.2.7"] == found["2001:db8::7"] == found["192.0.2.249"] == MAC
    routing.close()
