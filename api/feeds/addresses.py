"""What renderers of addresses share: every prefix is checked before it is written."""

import ipaddress
import socket
from typing import NamedTuple

from api.errors import UnrenderableSnapshot
from rules.lists.blocklist import AddressList, Snapshot

WIDEST_PREFIX = {4: 8, 6: 19}
WHOLE = {4: 32, 6: 128}
BOTH = (4, 6)
_FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}


class Prefix(NamedTuple):
    """An address or network; ordered by number, IPv4 first. `ipaddress` takes ten times as long for a million."""

    version: int
    packed: bytes
    length: int
    address: str

    @property
    def is_single(self) -> bool:
        """Tell whether it is one address."""
        return self.length == WHOLE[self.version]

    @property
    def network(self) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
        """Return it for calculations."""
        return ipaddress.ip_network((self.packed, self.length))

    @property
    def full(self) -> str:
        """Return it with its length: `203.0.113.9/32`."""
        return f"{self.address}/{self.length}"

    @property
    def shortest(self) -> str:
        """Return a single address without its length, and a network with it."""
        return self.address if self.is_single else self.full


def address_list(snapshot: Snapshot) -> AddressList:
    """Return the snapshot's addresses.

    Raises:
        UnrenderableSnapshot: it holds something else.
    """
    if not isinstance(snapshot.body, AddressList):
        raise UnrenderableSnapshot(f"{snapshot.list_name} {snapshot.serial} holds {type(snapshot.body).__name__}")
    return snapshot.body


def prefixes(snapshot: Snapshot, versions: tuple[int, ...] = BOTH) -> list[Prefix]:
    """Return the prefixes of these families in numeric order, IPv4 first, each once.

    Raises:
        UnrenderableSnapshot: one that is malformed or covers too much to be true.
    """
    written = {entry.prefix for entry in address_list(snapshot).blocked}
    return sorted(_parse(text, version) for text in written if (version := 6 if ":" in text else 4) in versions)


def _parse(text: str, version: int) -> Prefix:
    address, _, digits = text.partition("/")
    whole = WHOLE[version]
    try:
        packed, length = socket.inet_pton(_FAMILIES[version], address), int(digits) if digits else whole
    except (OSError, ValueError):
        raise UnrenderableSnapshot(f"{text[:80]!r} is not a prefix") from None
    # The two differ on ::192.0.2.1 alone.
    is_usual = socket.inet_ntop(_FAMILIES[version], packed) == address or str(ipaddress.ip_address(packed)) == address
    has_host_bits = bool(int.from_bytes(packed) & ((1 << max(whole - length, 0)) - 1)) if length != whole else False
    if not is_usual or digits not in ("", str(length)) or has_host_bits or length > whole:
        raise UnrenderableSnapshot(f"{text[:80]!r} is not a prefix in its usual form")
    if length < WIDEST_PREFIX[version]:
        raise UnrenderableSnapshot(f"{text} is wider than a block list may be (/{WIDEST_PREFIX[version]})")
    return Prefix(version, packed, length, address)
