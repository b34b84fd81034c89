"""Networks of addresses as conditions. Addresses are stored as text (RFC 5952), so most networks are no range of them.

A network of whole octets of IPv4 is the texts that begin alike. All others are a wider range of texts, and `IN_NETWORK`
tells which of these belong to it.
"""

import ipaddress
from functools import lru_cache
from itertools import takewhile
from typing import Final, NamedTuple

from sqlalchemy import ColumnElement, Function, and_, func, true

IN_NETWORK: Final = "in_network"
_AFTER: Final = {".": "/", ":": ";"}
_KEPT = 64
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Bounds(NamedTuple):
    """The texts from `first` up to `end`, which does not belong to them; "" is no end."""

    first: str
    end: str

    def holds(self, column: ColumnElement[str] | Function[str]) -> ColumnElement[bool]:
        """Return that a text lies within."""
        return and_(column >= self.first, column < self.end) if self.end else true()


EVERYTHING: Final = Bounds("", "")


@lru_cache(_KEPT)
def network_of(text: str | None) -> Network | None:
    """Return the network that `text` names with a prefix length, None where it names none."""
    if text is None or "/" not in text:
        return None
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None


def bounds(network: Network) -> Bounds:
    """Return a range that holds the text of every address of `network`, and maybe more."""
    length = network.prefixlen - (network.num_addresses == 1)  # nothing follows a whole address
    whole = length // (8 if network.version == 4 else 16)  # noqa: PLR2004 - the IP version
    if network.version == 4:  # noqa: PLR2004
        mark, parts = ".", str(network.network_address).split(".")[:whole]
    else:  # a zero may be left out of the text, with those beside it
        groups = (f"{int(group, 16):x}" for group in network.network_address.exploded.split(":")[:whole])
        mark, parts = ":", list(takewhile(lambda group: group != "0", groups))
    if not parts:
        return EVERYTHING
    begins = mark.join(parts)
    return Bounds(begins + mark, begins + _AFTER[mark])


def in_network(column: ColumnElement[str], network: Network) -> ColumnElement[bool]:
    """Return that an address belongs to `network`. Walks no index: those of times are the better ones to walk."""
    text = func.coalesce(column, "")  # not a column: else SQLite reads and sorts the whole range for one page
    within = bounds(network)
    is_exact = network.version == 4 and network.prefixlen in {8, 16, 24}  # noqa: PLR2004
    if is_exact:
        return within.holds(text)
    return and_(within.holds(text), getattr(func, IN_NETWORK)(column, str(network)) == 1)


def contains(address: str | None, network: str) -> bool:
    """Tell whether an address belongs to a network, both as text: what `IN_NETWORK` is."""
    found = network_of(network)
    try:
        return found is not None and address is not None and ipaddress.ip_address(address) in found
    except ValueError:
        return False
