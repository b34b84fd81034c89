"""Where a token may be used from. An IPv4 address inside an IPv6 one (`::ffff:192.0.2.1`) is the IPv4 address."""

import ipaddress
from collections.abc import Iterable

from starlette.requests import Request

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


NOWHERE = ""  # an address that no token takes


def client_address(request: Request) -> str:
    """Return the address of whoever asks, "" when it is not known."""
    return request.client.host if request.client else NOWHERE


def parse_address(text: str) -> Address | None:
    """Return the address, an IPv4-mapped one as IPv4 and without its zone; None when it is none."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def parse_networks(prefixes: Iterable[str]) -> tuple[Network, ...]:
    """Return the networks.

    Raises:
        ValueError: one is no prefix, or is an IPv4 one written as IPv6.
    """
    networks = tuple(ipaddress.ip_network(prefix) for prefix in prefixes)
    for network in networks:
        if isinstance(network, ipaddress.IPv6Network) and network.network_address.ipv4_mapped is not None:
            raise ValueError(f"write {network} as an IPv4 prefix")
    return networks


def is_within(address: Address, networks: Iterable[Network]) -> bool:
    """Tell whether one of the networks holds the address."""
    return any(address in network for network in networks)
