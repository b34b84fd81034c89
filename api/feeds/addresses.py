"""What renderers of addresses share: every prefix is checked before it is written."""

import ipaddress

from api.errors import UnrenderableSnapshot
from rules.blocklist import AddressEntry, AddressList, Snapshot

WIDEST_PREFIX = {4: 8, 6: 19}
BOTH = (4, 6)

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def address_list(snapshot: Snapshot) -> AddressList:
    """Return the snapshot's addresses.

    Raises:
        UnrenderableSnapshot: it holds something else.
    """
    if not isinstance(snapshot.body, AddressList):
        raise UnrenderableSnapshot(f"{snapshot.list_name} {snapshot.serial} holds {type(snapshot.body).__name__}")
    return snapshot.body


def networks(snapshot: Snapshot, versions: tuple[int, ...] = BOTH) -> list[Network]:
    """Return the networks of these families in numeric order, IPv4 first, each once.

    Raises:
        UnrenderableSnapshot: a prefix that is malformed or covers too much to be true.
    """
    found = {_network(entry) for entry in address_list(snapshot).blocked}
    return sorted((network for network in found if network.version in versions), key=_place)


def shortest(network: Network) -> str:
    """Return a single address without its prefix length, and a network with it."""
    return str(network.network_address) if network.num_addresses == 1 else str(network)


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
