"""Block lists: what firewalls and resolvers should refuse; `rules.list_building` makes them.

A list is built once, minimised and checked, then kept as a numbered snapshot and rendered for each consumer.
The rule above all: a sanctioned name, and an auxiliary name that its agents need, is on no list (DESIGN.md section 7).

A list may have a million entries. So lists that hold the same entries share them, entries that stay on a list are the
same objects from one state to the next, and nothing here copies a list whole: it is walked in its order.
"""

import ipaddress
import zlib
from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum
from hashlib import sha256
from itertools import chain, islice
from typing import TypeVar

import msgspec

from rules.catalogue import Network
from rules.profiles import DEFAULT_PROFILE
from rules.verdict import Role

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
CHUNK = 4096  # entries that are encoded at once
INFLATED_OCTETS = 1 << 20  # that are decoded at once
FAST = 1

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


def shown_parts(body: Body) -> tuple[Sequence[Entry], ...]:
    """Return the sorted parts of what a list blocks; of names, as formats with exemptions have them."""
    if isinstance(body, UrlList):
        return body.names, body.urls
    return (body.wide,) if isinstance(body, NameList) else (body.blocked,)


def count(body: Body) -> int:
    """Return how many entries `shown_parts` have."""
    return sum(map(len, shown_parts(body)))


def digest(body: Body) -> str:
    """Return the identity of a list's content; which addresses are spared besides does not count."""
    listed = msgspec.structs.replace(body, spared=()) if isinstance(body, AddressList) else body
    state = sha256(_head(listed))
    for lines in _encoded(map(_identity, chain.from_iterable(_parts(body)))):
        state.update(lines)
    return state.hexdigest()


def _parts(body: Body) -> tuple[Sequence[Entry], ...]:
    """Return the tuples of entries that make up a list; `wide` is left out where it is `blocked`."""
    if isinstance(body, NameList):
        return (body.blocked, () if body.wide is body.blocked else body.wide, body.allowed)
    return (body.names, body.urls) if isinstance(body, UrlList) else (body.blocked,)


class _Head(msgspec.Struct, frozen=True, omit_defaults=True):
    """The first line of a stored list: which kind it is, and how many entries each of its parts has."""

    kind: str
    counts: tuple[int, ...]
    is_wide_blocked: bool = False
    withheld: dict[str, str] = {}
    spared: tuple[WithheldAddress, ...] = ()


def _head(body: Body) -> bytes:
    head = _Head(
        kind=type(body).__name__,
        counts=tuple(map(len, _parts(body))),
        is_wide_blocked=isinstance(body, NameList) and body.wide is body.blocked,
        withheld=body.withheld if isinstance(body, AddressList) else {},
        spared=body.spared if isinstance(body, AddressList) else (),
    )
    return msgspec.json.encode(head) + b"\n"


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


def encode(body: Body) -> bytes:
    """Return the list as it is stored: lines of JSON, the head first, compressed (RFC 1950)."""
    packer = zlib.compressobj(FAST)
    pieces = [packer.compress(_head(body))]
    pieces += (packer.compress(lines) for lines in _encoded(chain.from_iterable(_parts(body))))
    return b"".join([*pieces, packer.flush()])


def decode(stored: bytes) -> Body:
    """Return a stored list, also one that was stored as a single object of JSON, as lists once were.

    Raises:
        msgspec.MsgspecError: the bytes are not what `encode` made.
    """
    if stored[:1] == b"{":
        body = msgspec.json.decode(stored, type=NameList | AddressList)
        is_shared = isinstance(body, NameList) and body.wide == body.blocked
        return msgspec.structs.replace(body, wide=body.blocked) if is_shared else body
    lines = _lines(stored)
    try:
        body = _decoded(lines)
        if next(lines, None) is not None:  # reads to the end, where damage shows
            raise msgspec.DecodeError("the stored list has more entries than it says")
    except zlib.error as error:
        raise msgspec.DecodeError(str(error)) from None
    return body


def _decoded(lines: Iterator[bytes]) -> Body:
    head = msgspec.json.decode(next(lines, b""), type=_Head)
    if head.kind == AddressList.__name__:
        return AddressList(_read(lines, AddressEntry, head.counts[0]), head.withheld, head.spared)
    names = _read(lines, NameEntry, head.counts[0])
    if head.kind == UrlList.__name__:
        return UrlList(names, _read(lines, UrlEntry, head.counts[1]))
    wide = names if head.is_wide_blocked else shared(_read(lines, NameEntry, head.counts[1]), names)
    return NameList(names, wide, _read(lines, NameEntry, head.counts[2]))


def _read(lines: Iterator[bytes], kind: type[AnyEntry], expected: int) -> tuple[AnyEntry, ...]:
    """Return the next entries; texts and times that many of them have are kept once."""
    decoder, known = msgspec.json.Decoder(kind), _Known()
    rows = tuple(known.take(decoder.decode(line)) for line in islice(lines, expected))
    if len(rows) != expected:
        raise msgspec.DecodeError(f"{expected} entries were stored and {len(rows)} are there")
    return rows


class _Known:
    """Values that entries have in common, as one object each."""

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}
        self._times: dict[int, int] = {}

    def take(self, row: AnyEntry) -> AnyEntry:
        """Return the row with the known values in place of its own."""
        return msgspec.structs.replace(
            row,
            service=self._texts.setdefault(row.service, row.service),
            reason=self._texts.setdefault(row.reason, row.reason),
            first_listed_ns=self._times.setdefault(row.first_listed_ns, row.first_listed_ns),
            expires_ns=self._times.setdefault(row.expires_ns, row.expires_ns),
        )


def _lines(stored: bytes) -> Iterator[bytes]:
    """Yield the lines of a stored list, inflated a piece at a time."""
    unpacker, rest = zlib.decompressobj(), b""
    waiting = stored
    while waiting and not unpacker.eof:
        *lines, rest = (rest + unpacker.decompress(waiting, INFLATED_OCTETS)).split(b"\n")
        waiting = unpacker.unconsumed_tail
        yield from lines
    if rest or not unpacker.eof:
        raise msgspec.DecodeError("the stored list is cut off")


def _encoded(rows: Iterable[Entry]) -> Iterator[bytes]:
    """Yield the entries as lines of JSON, many at once."""
    encoder, waiting = msgspec.json.Encoder(), iter(rows)
    while chunk := list(islice(waiting, CHUNK)):
        yield encoder.encode_lines(chunk)


def _identity(row: Entry) -> Entry:
    """Return an entry without what does not count for a list's identity."""
    expires_ns = 0 if row.source is Origin.FINDING else row.expires_ns
    if not row.first_listed_ns and row.expires_ns == expires_ns:
        return row
    return msgspec.structs.replace(row, first_listed_ns=0, expires_ns=expires_ns)
