"""Packet filters on a host of a test network load the list of addresses: it blocks, spares, and follows changes."""

import ipaddress
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path
from subprocess import CalledProcessError

import pytest
from feed_programs import program, pulling
from following import Reader, State, follow
from installation import NOW_NS, snapshot_of
from list_service import serving_lists
from netns import Host, Network, needs_root

from api.feeds import FeedFormat, render
from rules.catalogue.catalogue import Catalogue
from rules.catalogue.service import Service, Trust
from rules.lists.address_building import build_addresses
from rules.lists.blocklist import AddressList
from rules.policy.policy import Policy, Sanction

pytestmark = needs_root
LISTED, SANCTIONED, ADDED = ("3.0.0.7", "2600::7"), ("3.0.0.8", "2600::8"), ("3.0.0.9", "2600::9")
PORT = 8080
REJECT_TCP = ("-A", "OUTPUT", "-p", "tcp", "-j", "REJECT", "--reject-with", "tcp-reset")  # at once, and no second SYN
NFT_RULES = """
add chain inet molecatcher_feed output { type filter hook output priority 0; }
add rule inet molecatcher_feed output ip daddr @blocked4 meta l4proto tcp reject with tcp reset
add rule inet molecatcher_feed output ip6 daddr @blocked6 meta l4proto tcp reject with tcp reset
"""


@pytest.fixture
def near() -> Iterator[Host]:
    """Return a host from which a server can be reached at every address."""
    with Network() as network:
        near, far = network.host("near"), network.host("far")
        network.cable(near, "eth0", far, "eth0")
        near.address("eth0", "3.0.0.1/24", "2600::1/64")
        far.address("eth0", *(f"{it}/{64 if ':' in it else 24}" for it in (*LISTED, *SANCTIONED, *ADDED)))
        with far.call(server):  # whose backlog takes all connections: nobody accepts them
            yield near


def server() -> socket.socket:
    return socket.create_server(("::", PORT), family=socket.AF_INET6, dualstack_ipv6=True, backlog=4096)


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
    return build_addresses(catalogue, Policy(sanctions=(pin,)), NOW_NS, resolved=resolved, sanctioned=SANCTIONED)


def reachable(near: Host) -> set[str]:
    return {address for address, is_let_through in judged(near).items() if is_let_through}


def judged(near: Host) -> dict[str, bool | None]:
    return near.call(try_all)


def try_all() -> dict[str, bool | None]:
    """Connect to every address at once: a refused connection may take a second. Threads stay in the namespace."""
    with ThreadPoolExecutor(len(everything())) as tries:
        return dict(zip(everything(), tries.map(connects, everything()), strict=True))


def connects(address: str) -> bool:
    try:
        socket.create_connection((address, PORT), timeout=20).close()
    except OSError:
        return False
    return True


def load(near: Host, feed_format: FeedFormat, *argv: str, listed: tuple[str, ...]) -> None:
    near.run([program(argv[0]), *argv[1:]], input=render(snapshot_of(body(*listed)), feed_format).decode())


def test_nftables_takes_a_file_whole_or_not_at_all(near: Host) -> None:
    whole = {*everything()}
    assert reachable(near) == whole
    load(near, FeedFormat.NFTABLES, "nft", "-f", "-", listed=LISTED)
    near.nft(NFT_RULES)
    assert reachable(near) == whole - {*LISTED}
    with pytest.raises(CalledProcessError):  # a file with a mistake changes nothing
        near.nft(render(snapshot_of(body(*ADDED)), FeedFormat.NFTABLES).decode().replace("3.0.0.9", "3.0.0.999"))
    assert reachable(near) == whole - {*LISTED}
    load(near, FeedFormat.NFTABLES, "nft", "-f", "-", listed=())
    assert reachable(near) == whole


def let_through(listed: tuple[str, ...]) -> State:
    return State(body(*listed), {address: address not in listed for address in (*LISTED, *SANCTIONED, *ADDED)})


def rules_of_ipset(near: Host) -> None:
    for tables, name in (("iptables", "molecatcher4"), ("ip6tables", "molecatcher6")):
        near.run([program(tables), *REJECT_TCP, "-m", "set", "--match-set", name, "dst"])


def chains_of_iptables(near: Host) -> None:
    for tables in ("iptables", "ip6tables"):
        near.run([program(tables), "-A", "OUTPUT", "-j", "MOLECATCHER"])


@pytest.mark.parametrize(
    ("hooks", "prepare"),
    [
        ({"nft": "nft -f"}, lambda near: near.nft(NFT_RULES)),
        ({"ipset": "ipset restore -file"}, rules_of_ipset),
        ({it: f"{it}-restore --noflush" for it in ("iptables", "ip6tables")}, chains_of_iptables),
    ],
    ids=["nftables", "ipset", "iptables"],
)
def test_a_filter_that_fetches_follows_the_list_and_keeps_it(
    near: Host, tmp_path: Path, hooks: dict[str, str], prepare: Callable[[Host], None]
) -> None:
    with serving_lists(tmp_path, let_through(LISTED).body, near.call) as service:
        pulls = [
            pulling(service.feed(f"unsanctioned-addresses.{extension}"), file, f"{program_of(hook)} {file}")
            for extension, hook in hooks.items()
            for file in [tmp_path / extension]
        ]

        def pull() -> None:
            for each in pulls:
                near.call(each)

        pull()
        prepare(near)
        reader = Reader(lambda: judged(near), pull)
        follow(service, reader, *map(let_through, (LISTED, ADDED, (*LISTED, *ADDED))))


def program_of(hook: str) -> str:
    name, _, words = hook.partition(" ")
    return f"{program(name)} {words}"


def everything() -> tuple[str, ...]:
    return (*LISTED, *SANCTIONED, *ADDED)
