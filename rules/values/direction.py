"""Which way a flow goes, by the addresses of its two ends."""

import ipaddress
from enum import StrEnum
from typing import Final

INSIDE: Final = tuple(
    map(
        ipaddress.ip_network,
        (
            *("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"),  # RFC 1918
            *("100.64.0.0/10", "169.254.0.0/16", "127.0.0.0/8"),  # RFC 6598, RFC 3927, RFC 1122
            *("fc00::/7", "fe80::/10", "::1/128"),  # RFC 4193, RFC 4291
        ),
    )
)


_BITS: Final = {
    octets: [(int(row.netmask), int(row.network_address)) for row in INSIDE if row.max_prefixlen == octets * 8]
    for octets in (4, 16)
}


class Direction(StrEnum):
    """From initiator to responder."""

    OUTBOUND = "outbound"
    INBOUND = "inbound"
    INTERNAL = "internal"


def direction_of(src: bytes, dst: bytes) -> Direction | None:
    """Return which way a flow between packed addresses goes; None where both may be anybody's.

    An address that is routed in the Internet may be the organisation's own: only who sees more can tell.
    """
    if _is_inside(dst):
        return Direction.INTERNAL if _is_inside(src) else Direction.INBOUND
    return Direction.OUTBOUND if _is_inside(src) else None


def _is_inside(packed: bytes) -> bool:
    number = int.from_bytes(packed)
    return any(number & mask == network for mask, network in _BITS[len(packed)])
