"""What renderers of names share: every name is checked, for it goes into firewalls' files as it is."""

import re
from collections.abc import Iterator
from itertools import starmap

from api.errors import UnrenderableSnapshot
from rules.lists.blocklist import NameEntry, NameList, Scope, Snapshot
from rules.matching.names import MAX_NAME_OCTETS, ancestors

# As `rules.matching.names.normalise` leaves a name: two labels at least, the last one not a number, as in an address.
_CANONICAL = re.compile(
    r"(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)+(?!\d+\Z)[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
)


def checked(name: str) -> str:
    """Return `name` when it is a canonical name of at least two labels.

    Raises:
        UnrenderableSnapshot: anything else; no list is better than a list with a surprise in it.
    """
    if len(name) > MAX_NAME_OCTETS or not _CANONICAL.fullmatch(name):
        raise UnrenderableSnapshot(f"{name[:80]!r} is not a canonical name of at least two labels")
    return name


def name_list(snapshot: Snapshot) -> NameList:
    """Return the snapshot's names.

    Raises:
        UnrenderableSnapshot: it holds something else.
    """
    if not isinstance(snapshot.body, NameList):
        raise UnrenderableSnapshot(f"{snapshot.list_name} {snapshot.serial} holds {type(snapshot.body).__name__}")
    return snapshot.body


def blocked_entries(snapshot: Snapshot) -> Iterator[NameEntry]:
    """Return what to block without exemptions, sorted."""
    for entry in sorted(name_list(snapshot).blocked):
        checked(entry.name)
        yield entry


def blocked_names(snapshot: Snapshot) -> Iterator[tuple[str, bool]]:
    """Return what to block without exemptions, sorted: each name, and whether everything below it is meant as well."""
    return ((entry.name, entry.scope is Scope.SUBTREE) for entry in blocked_entries(snapshot))


def exempted_names(snapshot: Snapshot) -> tuple[dict[str, bool], dict[str, bool]]:
    """Return what to block, and the exemptions that it needs; of each name, whether everything below it is meant.

    Sanction wins: no blocked name lies in an exempted subtree. An exemption is at or below a blocked name; a name that
    is both is exempted itself, and what lies below it is blocked.
    """
    body = name_list(snapshot)
    allowed = dict(starmap(_checked_entry, _pairs(tuple(sorted(body.allowed)))))
    wide = starmap(_checked_entry, _pairs(tuple(sorted(body.wide))))
    blocked = {name: below for name, below in wide if not _is_exempted(name, below, allowed)}
    return blocked, {name: below for name, below in allowed.items() if _is_below(name, blocked)}


def _pairs(entries: tuple[NameEntry, ...]) -> Iterator[tuple[str, bool]]:
    return ((entry.name, entry.scope is Scope.SUBTREE) for entry in entries)


def _checked_entry(name: str, below: bool) -> tuple[str, bool]:
    return checked(name), below


def _is_exempted(name: str, below: bool, allowed: dict[str, bool]) -> bool:
    return (name in allowed and not below) or _is_below(name, allowed)


def _is_below(name: str, subtrees: dict[str, bool]) -> bool:
    return any(subtrees.get(parent, False) for parent in ancestors(name))
