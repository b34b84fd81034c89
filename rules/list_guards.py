"""The last look at a list before it is published: what is on it, and how far it is from the one in force.

The guards know nothing of how lists are built. What one refuses is not published; the list in force stays. How far a
step goes (`CONFIRMABLE`) may be confirmed by a person, the others never.
"""

import ipaddress
from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum

import msgspec

from rules.blocklist import OWN_NETWORKS, AddressList, NameEntry, NameList, Scope
from rules.catalogue import Network
from rules.names import is_at_or_below
from rules.policy import WIDEST
from rules.public_suffix import is_registry_suffix

MOST_SHRINK = 0.5  # more than this share of the entries gone at once,
FEWEST_GONE = 10  # and at least so many
MOST_GROWTH = 2.0  # more than this many times the entries new at once,
FEWEST_NEW = 100  # and at least so many


class Guard(StrEnum):
    """What is looked at."""

    EMPTY = "empty"
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


def refusals(new: NameList | AddressList, before: NameList | AddressList | None, spared: Spared) -> list[Refusal]:
    """Return why `new` must not replace `before`, nothing if it may. Costs O(entries x (labels + spared networks))."""
    found = _name_refusals(new, spared) if isinstance(new, NameList) else _address_refusals(new, spared)
    return [*found, *_step_refusals(new, before)]


def listed(body: NameList | AddressList) -> frozenset[str]:
    """Return the entries of a list as text, for comparison: `*.name` is a subtree."""
    if isinstance(body, AddressList):
        return frozenset(entry.prefix for entry in body.blocked)
    return frozenset(f"*.{entry.name}" if entry.scope is Scope.SUBTREE else entry.name for entry in body.wide)


def _name_refusals(new: NameList, spared: Spared) -> Iterator[Refusal]:
    above = {name[at + 1 :] for name in spared.names for at in _dots(name)}
    for entry in new.blocked:
        hit = _hit(entry, spared, above)
        if hit:
            yield Refusal(Guard.SANCTIONED_NAME, f"{entry.name} would block {hit}, which must stay reachable")
    for entry in new.blocked if new.wide is new.blocked else {*new.blocked, *new.wide}:
        if is_registry_suffix(entry.name):
            yield Refusal(Guard.PUBLIC_SUFFIX, f"{entry.name} is a public suffix: everybody has names below it")
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


def _address_refusals(new: AddressList, spared: Spared) -> Iterator[Refusal]:
    for entry in new.blocked:
        prefix = ipaddress.ip_network(entry.prefix)
        if prefix.prefixlen < WIDEST[prefix.version]:
            yield Refusal(Guard.WIDE_PREFIX, f"{prefix} is wider than /{WIDEST[prefix.version]}")
        if _overlaps(prefix, OWN_NETWORKS):
            yield Refusal(Guard.OWN_ADDRESS, f"{prefix} is private, local or multicast")
        if _overlaps(prefix, spared.networks):
            yield Refusal(Guard.SANCTIONED_ADDRESS, f"{prefix} holds a sanctioned address")


def _step_refusals(new: NameList | AddressList, before: NameList | AddressList | None) -> Iterator[Refusal]:
    had, has = listed(before) if before else frozenset(), listed(new)
    if not had:
        return
    if not has:
        yield Refusal(Guard.EMPTY, f"nothing would be left of {len(had)} entries")
        return
    gone, added = len(had - has), len(has - had)
    if gone >= FEWEST_GONE and gone > MOST_SHRINK * len(had):
        yield Refusal(Guard.SHRINK, f"{gone} of {len(had)} entries would go at once")
    if added >= FEWEST_NEW and added > MOST_GROWTH * len(had):
        yield Refusal(Guard.GROWTH, f"{added} entries would be added to {len(had)} at once")


def _dots(name: str) -> Iterator[int]:
    return (at for at, character in enumerate(name) if character == ".")


def _is_below_any(name: str, subtrees: set[str]) -> bool:
    return any(name[at + 1 :] in subtrees for at in _dots(name))


def _overlaps(prefix: Network, networks: Iterable[Network]) -> bool:
    return any(prefix.version == network.version and prefix.overlaps(network) for network in networks)
