"""What a host must never lose, so that no list can lock it out."""

import ipaddress
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pyroute2 import IPRoute

from molecatcher.enforce.prefixes import Network, UnusableList
from rules.lists.blocklist import OWN_NETWORKS

RESOLVERS = Path("/etc/resolv.conf")


@dataclass(frozen=True, slots=True)
class Plan:
    """The prefixes to refuse, and those that are left out with the reason."""

    refused: tuple[Network, ...]
    withheld: dict[Network, str]


def make_plan(listed: Iterable[Network], protected: Mapping[Network, str]) -> Plan:
    """Return what of `listed` can be refused without touching `protected`. Costs O(listed x protected).

    Raises:
        UnusableList: Nothing is left.
    """
    refused: list[Network] = []
    withheld: dict[Network, str] = {}
    for prefix in listed:
        reason = next((why for network, why in protected.items() if _overlap(prefix, network)), None)
        if reason is None:
            refused.append(prefix)
        else:
            withheld[prefix] = reason
    if not refused:
        raise UnusableList(
            "every prefix of the list is one that this host needs: the list is wrong, nothing was changed"
        )
    return Plan(tuple(refused), withheld)


def protected_networks(more: Iterable[Network] = ()) -> dict[Network, str]:
    """Return what is never refused here, with the reason: read anew at each call, since addresses change."""
    found: dict[Network, str] = dict.fromkeys(more, "protected by --protect")
    with IPRoute() as netlink:
        for address in _addresses(netlink):
            found[address] = "this host's own address"
        for gateway in _gateways(netlink):
            found[gateway] = "this host's gateway"
    for resolver in _resolvers():
        found[resolver] = "this host's DNS resolver"
    for peer in _session():
        found[peer] = "the administrator's SSH session"
    return found | dict.fromkeys(OWN_NETWORKS, "a private, local or multicast network")


def _overlap(one: Network, other: Network) -> bool:
    return one.version == other.version and one.overlaps(other)


def _addresses(netlink: IPRoute) -> Iterator[Network]:
    return (_host(message.get("address")) for message in netlink.get_addr() if message.get("address"))


def _gateways(netlink: IPRoute) -> Iterator[Network]:
    for message in netlink.get_routes():
        hops = [message, *(message.get("multipath") or ())]
        for hop in hops:
            if gateway := hop.get("gateway"):
                yield _host(gateway)


def _resolvers() -> Iterator[Network]:
    try:
        lines = RESOLVERS.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        words = line.split()
        if len(words) > 1 and words[0] == "nameserver":
            yield from _maybe(words[1])


def _session() -> Iterator[Network]:
    """Yield the other end of the SSH session that the program was started in (sshd(8), SSH_CONNECTION)."""
    yield from _maybe(os.environ.get("SSH_CONNECTION", "").split(" ")[0])


def _maybe(text: str) -> Iterator[Network]:
    try:
        yield _host(text)
    except ValueError:
        return


def _host(address: str) -> Network:
    return ipaddress.ip_network(address.partition("%")[0])
