"""Whose packet it is where workers share the clients: each packet one worker's, a client's packets the same one's."""

import struct
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Literal

import pytest
from frames import ACK, dns_query, frame, tcp, udp
from hypothesis import given
from hypothesis import strategies as st
from kernel_run import KernelRun
from netns import needs_root

from sensor.capture.filter.limits import Limits
from sensor.share import Share

pytestmark = needs_root

WORKERS = 3
UDP, ICMP, UNREACHABLE = 17, 1, 3
MORE_FRAGMENTS = 0x2000
SERVERS = {4: "192.0.2.10", 6: "2001:db8:5::10"}
RESOLVERS = {4: "10.0.0.1", 6: "fd00::1"}

inside = st.one_of(
    *(
        st.ip_addresses(network=network).map(str)
        for network in (
            *("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "169.254.0.0/16"),
            *("fc00::/7", "fe80::/10"),
        )
    )
)
anywhere = st.ip_addresses().map(str)
ports = st.integers(min_value=0, max_value=65_535)


@pytest.fixture(scope="module")
def workers() -> Iterator[list[KernelRun]]:
    with ExitStack() as stack:
        yield [
            stack.enter_context(KernelRun(Limits(flows=4096), share=Share(number, WORKERS)))
            for number in range(WORKERS)
        ]


def takers(workers: list[KernelRun], data: bytes) -> list[int]:
    return [number for number, worker in enumerate(workers) if worker.octets(data)[0]]


def whose(workers: list[KernelRun], *frames: bytes) -> int:
    """The worker that takes all of `frames`, which must be the only one that takes any."""
    (worker,) = {tuple(takers(workers, data)) for data in frames}
    assert len(worker) == 1
    return worker[0]


def there_and_back(src: str, sport: int, dst: str, dport: int) -> tuple[bytes, bytes]:
    payload = dns_query("example.com")  # passes always, whatever was seen of its flow
    return udp(0, (src, sport, dst, dport), payload).data, udp(0, (dst, dport, src, sport), payload).data


def family(address: str) -> Literal[4, 6]:
    return 6 if ":" in address else 4


@given(inside, st.integers(min_value=1024, max_value=65_535), ports)
def test_a_client_s_look_ups_and_flows_are_one_worker_s(
    workers: list[KernelRun], client: str, client_port: int, server_port: int
) -> None:
    server, resolver = SERVERS[family(client)], RESOLVERS[family(client)]
    if client == resolver:
        return
    whose(
        workers,
        *there_and_back(client, client_port, resolver, 53),
        *there_and_back(client, client_port, server, 53),
        *there_and_back(client, client_port, server, server_port),
    )


@given(anywhere, ports, st.data())
def test_both_directions_of_any_flow_are_one_worker_s(
    workers: list[KernelRun], src: str, sport: int, data: st.DataObject
) -> None:
    dst = data.draw(st.ip_addresses(v=family(src)).map(str))
    dport = data.draw(ports)
    whose(workers, *there_and_back(src, sport, dst, dport))


def test_clients_are_spread_evenly(workers: list[KernelRun]) -> None:
    taken = [0] * WORKERS
    for number in range(3000):
        data = tcp(0, (f"10.1.{number >> 8}.{number & 255}", 40_000, SERVERS[4], 443), (1, 0, ACK), b"x").data
        taken[whose(workers, data)] += 1
    assert min(taken) > 900


@pytest.mark.parametrize("resolver", ["192.0.2.10", "10.0.0.1"])
def test_an_answer_in_fragments_is_the_worker_s_of_who_asked(workers: list[KernelRun], resolver: str) -> None:
    for number in range(20):
        client = f"10.0.1.{number}"
        whole = frame(UDP, resolver, client, struct.pack(">HHHH", 53, 40_000, 108, 0) + bytes(100))
        pieces = [
            whole[:20] + struct.pack(">H", bits) + whole[22:] for bits in (MORE_FRAGMENTS, MORE_FRAGMENTS | 13, 26)
        ]
        whose(workers, *pieces, *there_and_back(client, 40_000, resolver, 53))


@pytest.mark.parametrize("router", ["198.51.100.1", "10.0.0.254"])
def test_a_client_s_worker_hears_that_a_host_is_unreachable(workers: list[KernelRun], router: str) -> None:
    for number in range(20):
        client = f"10.0.2.{number}"
        news = frame(ICMP, router, client, bytes((UNREACHABLE, 1)) + bytes(34))
        whose(workers, news, *there_and_back(client, 40_000, "192.0.2.10", 443))


def test_what_is_damaged_is_counted_once(workers: list[KernelRun]) -> None:
    damaged = tcp(0, ("10.0.0.9", 40_000, SERVERS[4], 443), (1, 0, ACK)).data[:40]
    assert takers(workers, damaged) == [0]
