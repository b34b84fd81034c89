import socket
import time
from collections.abc import Callable, Iterator

import pytest
from netns import Host, Network, needs_root
from pyroute2 import IPRoute

from sensor.capture.live.interfaces import choose_interfaces
from sensor.capture.live.routes import Route, dump_routes

pytestmark = needs_root

V4, V6 = socket.AF_INET, socket.AF_INET6
MANY = 10_000


@pytest.fixture
def router() -> Iterator[Host]:
    with Network() as network:
        router, other = network.host("router"), network.host("other")
        for name in ("eth0", "eth1"):
            network.cable(router, name, other, name)
        router.address("eth0", "10.0.0.1/24", "fd00:1::1/64")
        router.address("eth1", "10.0.1.1/24")
        yield router


def routes(host: Host) -> set[tuple[int, str, str]]:
    """Family, interface and prefix of each route that is not to the link itself."""
    with host.inside():
        names = dict(socket.if_nameindex())
        return {(row.family, names[row.interface], prefix(row)) for row in dump_routes()}


def prefix(route: Route) -> str:
    octets = 4 if route.family == V4 else 16
    return f"{socket.inet_ntop(route.family, route.destination.ljust(octets, bytes(1)))}/{route.bits}"


def test_routes_of_every_table_and_each_next_hop_are_told(router: Host) -> None:
    before = routes(router)
    assert {(V4, "eth0", "10.0.0.0/24"), (V4, "eth1", "10.0.1.0/24"), (V6, "eth0", "fd00:1::/64")} <= before
    router.ip("route add default nexthop via 10.0.0.2 nexthop via 10.0.1.2")
    router.ip("route add 198.51.100.0/25 via 10.0.0.2 table 1000")
    router.ip("-6 route add 8000::/1 via fd00:1::2")
    router.ip("route add blackhole 203.0.113.0/24")
    assert routes(router) - before == {
        (V4, "eth0", "0.0.0.0/0"),
        (V4, "eth1", "0.0.0.0/0"),
        (V4, "eth0", "198.51.100.0/25"),
        (V6, "eth0", "8000::/1"),
    }


def test_this_host_s_own_addresses_are_no_routes(router: Host) -> None:
    assert not {prefix for _, _, prefix in routes(router)} & {"10.0.0.1/32", "fd00:1::1/128", "127.0.0.0/8"}


def test_a_gateway_with_many_routes_does_not_stand_still_for_them(router: Host) -> None:
    router.ip("route add default via 10.0.0.2")
    rows = (f"route add 20.{number >> 8}.{number & 255}.0/24 via 10.0.1.2\n" for number in range(MANY))
    router.run(["ip", "-batch", "-"], input="".join(rows))
    with router.inside():
        assert choose_interfaces().interfaces == ("eth0",)
        assert min(cpu_s(choose_interfaces) for _ in range(3)) < cpu_s(dump_as_objects) / 4


def dump_as_objects() -> None:
    with IPRoute() as netlink:
        assert len(list(netlink.route("dump"))) > MANY


def cpu_s(task: Callable[[], object]) -> float:
    began_s = time.thread_time()
    task()
    return time.thread_time() - began_s
