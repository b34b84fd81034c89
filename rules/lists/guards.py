"""The last look at a list before it is published: what is on it, and how far it is from the one in force.

The guards know nothing of how lists are built. What one refuses is not published; the list in force stays. How far a
step goes (`CONFIRMABLE`) may be confirmed by a person, the others never.
"""

import ipaddress
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from itertools import islice

import msgspec

from rules.catalogue.catalogue import Network
from rules.lists.blocklist import OWN_NETWORKS, AddressEntry, Body, NameEntry, NameList, Scope, UrlList, count
from rules.lists.changes import differences
from rules.matching.names import is_at_or_below
from rules.matching.public_suffix import is_registry_suffix
from rules.policy.policy import WIDEST
from rules.policy.profiles import AGENTS_ONLY, Profile

FEWEST_GONE = 10  # fewer may always go at once, whatever share of the list they are
FEWEST_NEW = 100  # and fewer be new
MAX_REFUSALS = 100


class Guard(StrEnum):
    """What is looked at."""

    EMPTY = "empty"
    TOO_MANY = "too_many"
    SANCTIONED_NAME = "sanctioned_name"
    SANCTIONED_ADDRESS = "sanctioned_address"
    PUBLIC_SUFFIX = "public_suffix"
    WIDE_PREFIX = "wide_prefix"
    OWN_ADDRESS = "own_address"
    SHRINK = "shrink"
    GROWTH = "growth"


CONFIRMABLE = frozenset({Guard.EMPTY, Guard.SHRINK, Guard.GROWTH})


class Refusal(msgspec.Struct, frozen=True):
    """Why a list is not published, in a sentence."""

    guard: Guard
    detail: str


class HeldList(msgspec.Struct, frozen=True):
    """A list that was refused: its identity, why, and how many entries it has."""

    digest: str
    refusals: tuple[Refusal, ...]
    entries: int

    @property
    def is_confirmable(self) -> bool:
        """Tell whether a person may say that it is right."""
        return all(refusal.guard in CONFIRMABLE for refusal in self.refusals)


class Spared(msgspec.Struct, frozen=True):
    """What no list may hit: names with their scope, and networks of sanctioned addresses."""

    names: Mapping[str, NameEntry] = {}
    networks: tuple[Network, ...] = ()


def refusals(new: Body, before: Body | None, spared: Spared, profile: Profile = AGENTS_ONLY) -> list[Refusal]:
    """Return why `new` must not replace `before`, nothing if it may; `MAX_REFUSALS` reasons at most.

    Costs O(entries x (labels + spared networks)).
    """
    return list(islice(_refusals(new, before, spared, profile), MAX_REFUSALS))


def _refusals(new: Body, before: Body | None, spared: Spared, profile: Profile) -> Iterator[Refusal]:
    if isinstance(new, NameList):
        yield from _blocked_names(new.blocked, spared)
        yield from _suffixes(new.blocked)
        yield from _suffixes(new.wide if new.wide is not new.blocked else ())
        yield from _exemptions(new, spared)
    elif isinstance(new, UrlList):
        yield from _blocked_names(new.names, spared)
        yield from _suffixes(new.names)
        hosts = (NameEntry(entry.host, Scope.EXACT, entry.service) for entry in new.urls)
        yield from _blocked_names(hosts, spared)
    else:
        yield from _blocked_addresses(new.blocked, spared)
    if profile.max_entries is not None and count(new) > profile.max_entries:
        yield Refusal(Guard.TOO_MANY, f"{count(new)} entries are more than {profile.name} takes: {profile.max_entries}")
    yield from _step(new, before, profile)


def _blocked_names(entries: Iterable[NameEntry], spared: Spared) -> Iterator[Refusal]:
    if not spared.names:
        return
    above = {name[at + 1 :] for name in spared.names for at in _dots(name)}
    for entry in entries:
        hit = _hit(entry, spared, above)
        if hit:
            yield Refusal(Guard.SANCTIONED_NAME, f"{entry.name} would block {hit}, which must stay reachable")


def _suffixes(entries: Iterable[NameEntry]) -> Iterator[Refusal]:
    for entry in entries:
        if is_registry_suffix(entry.name):
            yield Refusal(Guard.PUBLIC_SUFFIX, f"{entry.name} is a public suffix: everybody has names below it")


def _exemptions(new: NameList, spared: Spared) -> Iterator[Refusal]:
    allowed = {entry.name for entry in new.allowed if entry.scope is Scope.SUBTREE}
    exact = {entry.name for entry in new.allowed}
    for name, entry in spared.names.items():
        if name not in (exact if entry.scope is Scope.EXACT else allowed) and not _is_below_any(name, allowed):
            yield Refusal(Guard.SANCTIONED_NAME, f"{name} is not exempted, although it must stay reachable")


def _hit(entry: NameEntry, spared: Spared, above: set[str]) -> str:
    """Return the spared name that `entry` would block, an empty text if none."""
    for name in (entry.name, *(entry.name[at + 1 :] for at in _dots(entry.name))):
        kept = spared.names.get(name)
        if kept is not None and (name == entry.name or kept.scope is Scope.SUBTREE):
            return name
    if entry.scope is Scope.SUBTREE and entry.name in above:
        return next(name for name in spared.names if is_at_or_below(name, entry.name))
    return ""


def _blocked_addresses(entries: Iterable[AddressEntry], spared: Spared) -> Iterator[Refusal]:
    for entry in entries:
        prefix = ipaddress.ip_network(entry.prefix)
        if prefix.prefixlen < WIDEST[prefix.version]:
            yield Refusal(Guard.WIDE_PREFIX, f"{prefix} is wider than /{WIDEST[prefix.version]}")
        if _overlaps(prefix, OWN_NETWORKS):
            yield Refusal(Guard.OWN_ADDRESS, f"{prefix} is private, local or multicast")
        if _overlaps(prefix, spared.networks):
            yield Refusal(Guard.SANCTIONED_ADDRESS, f"{prefix} holds a sanctioned address")


def _step(new: Body, before: Body | None, profile: Profile) -> Iterator[Refusal]:
    had = count(before) if before is not None else 0
    if not had:
        return
    if not count(new):
        yield Refusal(Guard.EMPTY, f"nothing would be left of {had} entries")
        return
    changes = Counter(is_new for is_new, _text in differences(before, new))
    gone, added = changes[False], changes[True]
    if gone >= FEWEST_GONE and gone > profile.max_shrink * had:
        yield Refusal(Guard.SHRINK, f"{gone} of {had} entries would go at once")
    if added >= FEWEST_NEW and added > profile.max_growth * had:
        yield Refusal(Guard.GROWTH, f"{added} entries would be added to {had} at once")


def _dots(name: str) -> Iterator[int]:
    return (at for at, character in enumerate(name) if character == ".")


def _is_below_any(name: str, subtrees: set[str]) -> bool:
    return any(name[at + 1 :] in subtrees for at in _dots(name))


def _overlaps(prefix: Network, networks: Iterable[Network]) -> bool:
    return any(prefix.version == network.version and prefix.overlaps(network) for network in networks)
