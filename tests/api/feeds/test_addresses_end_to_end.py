"""Packet filters on a host of a test network load the list of addresses: it blocks, spares, and follows changes."""

import ipaddress
import socket
from collections.abc import Iterator
from datetime import date
from subprocess import CalledProcessError

import pytest
from feed_programs import program
from installation import NOW_NS, snapshot_of
from netns import Host, Network, needs_root

from api.feeds import FeedFormat, render
from rules.blocklist import AddressList
from rules.catalogue import Catalogue, Service, Trust
from rules.list_building import build_addresses
from rules.policy import Policy, Sanction

pytestmark = needs_root
LISTED, SANCTIONED, ADDED = ("3.0.0.7", "2600::7"), ("3.0.0.8", "2600::8"), ("3.0.0.9", "2600::9")
PORT = 8080
NFT_RULES = """
add chain inet molecatcher_feed output { type filter hook output priority 0; }
add rule inet molecatcher_feed output ip daddr @blocked4 reject
add rule inet molecatcher_feed output ip6 daddr @blocked6 reject
"""


@pytest.fixture
def near() -> Iterator[Host]:
    """Return a host from which a server can be reached at every address."""
    with Network() as network:
        near, far = network.host("near"), network.host("far")
        network.cable(near, "eth0", far, "eth0")
        near.address("eth0", "3.0.0.1/24", "2600::1/64")
        far.address("eth0", *(f"{it}/{64 if ':' in it else 24}" for it in (*LISTED, *SANCTIONED, *ADDED)))
        with far.call(lambda: socket.create_server(("::", PORT), family=socket.AF_INET6, dualstack_ipv6=True)):
            yield near


def body(*listed: str) -> AddressList:
    service = Service(
        id="s",
        name="s",
        homepage="",
        category="reverse-tunnel",
        confidence=Trust.HIGH,
        ports=(),
        sources=("test",),
        agent_domains=("=agent.example",),
    )
    catalogue = Catalogue([service], [], (), date(2026, 11, 23))
    pin = Sanction("ok.example", "s", "o", "r", addresses=(ipaddress.ip_network("3.0.1.0/24"),))
    resolved = {"agent.example": (*listed, *SANCTIONED)}  # the sanctioned name shares the agents' addresses
    return build_addresses(catalogue, Policy(sanctions=(pin,)), resolved, SANCTIONED, NOW_NS)


def reachable(near: Host) -> set[str]:
    return {address for address in (*LISTED, *SANCTIONED, *ADDED) if near.call(connects, address)}


def connects(address: str) -> bool:
    try:
        socket.create_connection((address, PORT), timeout=2).close()
    except OSError:
        return False
    return True


def load(near: Host, feed_format: FeedFormat, *argv: str, listed: tuple[str, ...]) -> None:
    near.run([program(argv[0]), *argv[1:]], input=render(snapshot_of(body(*listed)), feed_format).decode())


def test_nftables(near: Host) -> None:
    everything = {*LISTED, *SANCTIONED, *ADDED}
    assert reachable(near) == everything
    load(near, FeedFormat.NFTABLES, "nft", "-f", "-", listed=LISTED)
    near.nft(NFT_RULES)
    assert reachable(near) == everything - {*LISTED}
    load(near, FeedFormat.NFTABLES, "nft", "-f", "-", listed=ADDED)
    assert reachable(near) == everything - {*ADDED}
    with pytest.raises(CalledProcessError):  # a file with a mistake changes nothing
        near.nft(render(snapshot_of(body(*LISTED)), FeedFormat.NFTABLES).decode().replace("3.0.0.7", "3.0.0.777"))
    assert reachable(near) == everything - {*ADDED}
    load(near, FeedFormat.NFTABLES, "nft", "-f", "-", listed=())
    assert reachable(near) == everything


def test_ipset(near: Host) -> None:
    everything = {*LISTED, *SANCTIONED, *ADDED}
    load(near, FeedFormat.IPSET, "ipset", "restore", listed=LISTED)
    for tables, name in (("iptables", "molecatcher4"), ("ip6tables", "molecatcher6")):
        near.run([program(tables), "-A", "OUTPUT", "-m", "set", "--match-set", name, "dst", "-j", "REJECT"])
    assert reachable(near) == everything - {*LISTED}
    load(near, FeedFormat.IPSET, "ipset", "restore", listed=ADDED)
    assert reachable(near) == everything - {*ADDED}


def test_iptables(near: Host) -> None:
    everything = {*LISTED, *SANCTIONED, *ADDED}
    for listed in (LISTED, ADDED):
        load(near, FeedFormat.IPTABLES, "iptables-restore", "--noflush", listed=listed)
        load(near, FeedFormat.IP6TABLES, "ip6tables-restore", "--noflush", listed=listed)
        if listed is LISTED:
            for tables in ("iptables", "ip6tables"):
                near.run([program(tables), "-A", "OUTPUT", "-j", "MOLECATCHER"])
        assert reachable(near) == everything - {*listed}
