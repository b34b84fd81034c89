"""Addresses and networks, one a line, IPv4 first; a single address is written without its prefix length."""

import ipaddress

from api.errors import UnrenderableSnapshot
from rules.blocklist import AddressEntry, AddressList

WIDEST_PREFIX = {4: 8, 6: 19}
EXPLANATION = "one address or network a line"

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def render_addresses(body: AddressList) -> list[str]:
    """Return the lines in numeric order, each once.

    Raises:
        UnrenderableSnapshot: a prefix that is malformed or covers too much to be true.
    """
    networks = sorted({_network(entry) for entry in body.blocked}, key=_place)
    return [str(network.network_address) if network.num_addresses == 1 else str(network) for network in networks]


def _network(entry: AddressEntry) -> Network:
    try:
        network = ipaddress.ip_network(entry.prefix)
    except ValueError as error:
        raise UnrenderableSnapshot(f"{entry.prefix[:80]!r} is not a prefix: {error}") from None
    if network.prefixlen < WIDEST_PREFIX[network.version]:
        raise UnrenderableSnapshot(f"{network} is wider than a block list may be (/{WIDEST_PREFIX[network.version]})")
    return network


def _place(network: Network) -> tuple[int, int, int]:
    return network.version, int(network.network_address), network.prefixlen
