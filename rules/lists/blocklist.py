"""Block lists: what firewalls and resolvers should refuse; `rules.lists.building` makes them.

A list is built once, minimised and checked, then kept as a numbered snapshot and rendered for each consumer.
The rule above all: a sanctioned name, and an auxiliary name that its agents need, is on no list (DESIGN.md section 7).

A list may have a million entries. So lists that hold the same entries share them, entries that stay on a list are the
same objects from one state to the next, and nothing here copies a list whole: it is walked in its order.
"""

import ipaddress
from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum
from typing import TypeVar

import msgspec

from rules.catalogue.catalogue import Network
from rules.policy.profiles import DEFAULT_PROFILE
from rules.values.verdict import Role

# An answer that points here is a sinkhole or a host of the company's own, never a tunnel service.
OWN_NETWORKS: tuple[Network, ...] = tuple(
    map(
        ipaddress.ip_network,
        (
            *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
            *("192.168.0.0/16", "224.0.0.0/3", "::/127", "::ffff:0:0/96", "fc00::/7", "fe80::/10", "ff00::/8"),
        ),
    )
)

# The service of entries that the policy lists beyond the catalogue.
OURS = "policy"


class ListName(StrEnum):
    """The lists there are."""

    UNSANCTIONED_DOMAINS = "unsanctioned-domains"
    UNSANCTIONED_ADDRESSES = "unsanctioned-addresses"
    UNSANCTIONED_URLS = "unsanctioned-urls"


class Scope(StrEnum):
    """Whether an entry means that name alone, or the name and everything below it."""

    EXACT = "exact"
    SUBTREE = "subtree"


class EntryKind(StrEnum):
    """What an entry is."""

    NAME = "name"
    ADDRESS = "address"
    URL = "url"


class Origin(StrEnum):
    """Where an entry comes from."""

    CATALOGUE = "catalogue"
    FINDING = "finding"
    MANUAL = "manual"


class NameEntry(msgspec.Struct, frozen=True, order=True, omit_defaults=True, gc=False):
    """A name on a list: the service it belongs to, where it comes from and why, since when and until when it is listed.

    `first_listed_ns` is stamped when the list is published (`stamp`) and does not count for its identity; neither does
    `expires_ns` (0: it does not expire) of a finding, which moves with every sighting.
    """

    name: str
    scope: Scope
    service: str
    source: Origin = Origin.CATALOGUE
    reason: str = ""
    first_listed_ns: int = 0
    role: Role = Role.AGENT
    expires_ns: int = 0

    @property
    def text(self) -> str:
        """Return the entry as people read it: `*.name` is a subtree."""
        return f"*.{self.name}" if self.scope is Scope.SUBTREE else self.name

    @property
    def kind(self) -> EntryKind:
        """Return what it is."""
        return EntryKind.NAME


class AddressEntry(msgspec.Struct, frozen=True, order=True, omit_defaults=True, gc=False):
    """A prefix on a list (`198.51.100.7/32`), as `NameEntry`; the reason is the name that resolved to it."""

    prefix: str
    service: str
    source: Origin = Origin.CATALOGUE
    reason: str = ""
    first_listed_ns: int = 0
    role: Role = Role.AGENT
    expires_ns: int = 0

    @property
    def text(self) -> str:
        """Return the prefix."""
        return self.prefix

    @property
    def kind(self) -> EntryKind:
        """Return what it is."""
        return EntryKind.ADDRESS


class UrlEntry(msgspec.Struct, frozen=True, order=True, omit_defaults=True, gc=False):
    """A URL on a list (`host/path`, without a scheme), as `NameEntry`."""

    url: str
    service: str
    source: Origin = Origin.MANUAL
    reason: str = ""
    first_listed_ns: int = 0
    role: Role = Role.AGENT
    expires_ns: int = 0

    @property
    def text(self) -> str:
        """Return the URL."""
        return self.url

    @property
    def host(self) -> str:
        """Return the name before the path."""
        return self.url.partition("/")[0]

    @property
    def kind(self) -> EntryKind:
        """Return what it is."""
        return EntryKind.URL


Entry = NameEntry | AddressEntry | UrlEntry
AnyEntry = TypeVar("AnyEntry", NameEntry, AddressEntry, UrlEntry)


class NameList(msgspec.Struct, frozen=True, tag="names"):
    """Names to block, sorted and minimised.

    `blocked` covers no protected name: it is for formats without exemptions. Formats that have exemptions take `wide`,
    where a subtree may hold protected names, together with `allowed`, which exempts them.
    """

    blocked: tuple[NameEntry, ...] = ()
    wide: tuple[NameEntry, ...] = ()
    allowed: tuple[NameEntry, ...] = ()


class WithheldAddress(msgspec.Struct, frozen=True):
    """An address of a listed name that is not listed, and why."""

    address: str
    name: str
    service: str
    reason: str


class AddressList(msgspec.Struct, frozen=True, tag="addresses"):
    """Prefixes to block, sorted; `withheld` says why services are left out whole, `spared` which addresses."""

    blocked: tuple[AddressEntry, ...] = ()
    withheld: dict[str, str] = {}
    spared: tuple[WithheldAddress, ...] = ()


class UrlList(msgspec.Struct, frozen=True, tag="urls"):
    """URLs to block: every URL of the names, which cover no protected name, and single ones; both sorted."""

    names: tuple[NameEntry, ...] = ()
    urls: tuple[UrlEntry, ...] = ()

    @property
    def blocked(self) -> tuple[NameEntry | UrlEntry, ...]:
        """Return all entries."""
        return (*self.names, *self.urls)


Body = NameList | AddressList | UrlList


class Snapshot(msgspec.Struct, frozen=True):
    """One numbered, immutable state of a list in a profile."""

    list_name: ListName
    serial: int
    created_at_ns: int
    digest: str
    body: Body
    profile: str = DEFAULT_PROFILE

    @property
    def is_first(self) -> bool:
        """Tell whether nothing is known of an earlier state; 1 was the first serial of earlier versions.

        One more is taken for it: the state whose serial has come to be the second of its making, after as many changes
        as seconds.
        """
        return self.serial in (1, first_serial(self.created_at_ns))


def first_serial(at_ns: int) -> int:
    """Return the serial of a list of which no earlier state is known: the time in seconds since 1970.

    It is higher than any that was handed out before what was known was lost, unless the list changed more than once a
    second; resolvers take no zone, and `molecatcher fetch` no list, with a lower one (RFC 1982 section 3.2).
    """
    return max(1, at_ns // 1_000_000_000)


def shown_parts(body: Body) -> tuple[Sequence[Entry], ...]:
    """Return the sorted parts of what a list blocks; of names, as formats with exemptions have them."""
    if isinstance(body, UrlList):
        return body.names, body.urls
    return (body.wide,) if isinstance(body, NameList) else (body.blocked,)


def count(body: Body) -> int:
    """Return how many entries `shown_parts` have."""
    return sum(map(len, shown_parts(body)))


def sort_key(row: Entry) -> tuple[str, str]:
    """Return what a part of a list is sorted by, and what an entry of it is known by."""
    if isinstance(row, NameEntry):
        return row.name, row.scope
    return (row.prefix, "") if isinstance(row, AddressEntry) else (row.url, "")


def paired(rows: Iterable[AnyEntry], earlier: Iterable[AnyEntry]) -> Iterator[tuple[AnyEntry, AnyEntry | None]]:
    """Yield each row with the earlier row of the same key; both are sorted."""
    others = iter(earlier)
    other = next(others, None)
    for row in rows:
        key = sort_key(row)
        while other is not None and sort_key(other) < key:
            other = next(others, None)
        yield row, other if other is not None and sort_key(other) == key else None


def shared(rows: Iterable[AnyEntry], others: Iterable[AnyEntry]) -> tuple[AnyEntry, ...]:
    """Return the rows; one that is among the others as well is that object."""
    return tuple(other if other is not None and other == row else row for row, other in paired(rows, others))
