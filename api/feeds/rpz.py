"""A response policy zone, complete with SOA and NS, its names relative to whatever the resolver calls the zone.

A resolver looks a name up in the zone as in any other: the nearest existing name decides which wildcard applies
(the closest encloser, RFC 4592 section 3.3.1). So an exemption deep below a blocked name, and every name between the
two that exists only because of it, would open a hole for its siblings. Every name that exists in the zone
therefore states its own action and that of the names below it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from api.errors import UnrenderableSnapshot
from api.feeds.names import checked
from rules.lists.blocklist import NameEntry, NameList, Scope
from rules.matching.names import ancestors

EXPLANATION = "response policy zone: blocked names answer NXDOMAIN, sanctioned names pass"
PRIMARY = "localhost."
TTL_S = 60
REFRESH_S, RETRY_S, EXPIRE_S, NEGATIVE_TTL_S = 300, 60, 30 * 86_400, 60
SERIAL_MODULUS = 2**32
MAX_OWNER_OCTETS = 190  # leaves 60 octets of a name's 253 for "*." and the zone's own name


class Action(Enum):
    """What the resolver does: the target of the CNAME."""

    BLOCK = "."
    LET_THROUGH = "rpz-passthru."


@dataclass(frozen=True, slots=True)
class _Entries:
    """The entries by name and scope; asked for one name, they say what holds for it. Sanction wins over every list."""

    blocked: dict[str, Scope]
    allowed: dict[str, Scope]

    def action_at(self, name: str) -> Action | None:
        """Return what holds for `name` itself."""
        if name in self.allowed or _is_covered(name, self.allowed):
            return Action.LET_THROUGH
        return Action.BLOCK if name in self.blocked or _is_covered(name, self.blocked) else None

    def action_below(self, name: str) -> Action | None:
        """Return what holds for a name below `name` that no entry mentions."""
        if _is_covered(name, self.allowed):
            return Action.LET_THROUGH
        return Action.BLOCK if _is_covered(name, self.blocked) else None


def render_zone(body: NameList, serial: int) -> list[str]:
    """Return the zone file's lines, sorted by name after SOA and NS.

    Raises:
        UnrenderableSnapshot: a name that is malformed or too long for a zone.
    """
    lines = [f"$TTL {TTL_S}", f"@ IN SOA {soa_text(serial)}", f"@ IN NS {PRIMARY}"]
    return lines + [f"{owner} CNAME {action.value}" for owner, action in zone_records(body)]


def soa_text(serial: int) -> str:
    """Return the SOA record's text: a secondary that hears nothing keeps the zone for a month."""
    return (
        f"{PRIMARY} molecatcher.{PRIMARY} {serial % SERIAL_MODULUS} {REFRESH_S} {RETRY_S} {EXPIRE_S} {NEGATIVE_TTL_S}"
    )


def zone_records(body: NameList) -> Iterator[tuple[str, Action]]:
    """Yield owners, relative to the zone, with their actions: by name, each before its wildcard.

    Raises:
        UnrenderableSnapshot: as `render_zone`.
    """
    entries = _Entries(_by_name(body.wide), _by_name(body.allowed))
    for name in sorted(_existing_names(entries)):
        if at := entries.action_at(name):
            yield name, at
        if below := entries.action_below(name):
            yield f"*.{name}", below


def _by_name(entries: tuple[NameEntry, ...]) -> dict[str, Scope]:
    scopes: dict[str, Scope] = {}
    for entry in entries:
        if len(entry.name) > MAX_OWNER_OCTETS:
            raise UnrenderableSnapshot(f"{entry.name[:80]!r} is longer than {MAX_OWNER_OCTETS} octets")
        if scopes.get(checked(entry.name)) is not Scope.SUBTREE:
            scopes[entry.name] = entry.scope
    return scopes


def _existing_names(entries: _Entries) -> set[str]:
    """Return the names that must exist: entries that no subtree above covers alike, and every name above them."""
    needed = {name for name in entries.allowed if not _is_covered_above(name, entries.allowed)}
    needed |= {
        name
        for name in entries.blocked
        if not _is_covered_above(name, entries.blocked) and not _is_covered(name, entries.allowed)
    }
    return {ancestor for name in needed for ancestor in ancestors(name)}


def _is_covered(name: str, scopes: dict[str, Scope]) -> bool:
    return any(scopes.get(ancestor) is Scope.SUBTREE for ancestor in ancestors(name))


def _is_covered_above(name: str, scopes: dict[str, Scope]) -> bool:
    return any(scopes.get(ancestor) is Scope.SUBTREE for ancestor in ancestors(name)[1:])
