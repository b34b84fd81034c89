"""What people changed beside the policy file: kept in the database, laid over the file.

Where both speak of the same thing the file wins. What the database holds was checked when it came; when the file or the
catalogue has changed since and an entry cannot be used any more, it is left out with a warning, and all else holds.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace
from operator import attrgetter
from typing import TypeVar

import msgspec

from rules.catalogue.catalogue import Catalogue
from rules.errors import InvalidPolicy
from rules.policy.policy import Blocked, Policy, PolicyException, PolicyOrigin, Sanction, day_of
from rules.policy.profiles import BUILT_IN, MAX_PROFILES, Profile, ProfileTable
from rules.policy.reader import PolicyReader, blocked_in_vain
from rules.policy.tables import BlockedTable, ExceptionTable, SanctionTable
from rules.values.verdict import Decision

WHERE = "the database"

Table = TypeVar("Table")
Entry = TypeVar("Entry", bound=Blocked | PolicyException | Sanction)


class Overlay(msgspec.Struct, frozen=True, kw_only=True):
    """What holds beside the file: ingresses, exceptions and own entries by their id, decisions by service or category.

    `profiles` are of the lists. `revision` differs after every change.
    """

    revision: int = 0
    sanctions: tuple[tuple[str, SanctionTable], ...] = ()
    exceptions: tuple[tuple[str, ExceptionTable], ...] = ()
    blocked: tuple[tuple[str, BlockedTable], ...] = ()
    never_blocked: tuple[tuple[str, BlockedTable], ...] = ()
    decisions: tuple[tuple[str, str], ...] = ()
    profiles: tuple[ProfileTable, ...] = ()


EMPTY = Overlay()


def apply_overlay(policy: Policy, overlay: Overlay, catalogue: Catalogue, now_ns: int) -> Policy:
    """Return the policy of the file with `overlay` laid over it, and a warning for each entry that is left out."""
    reader = PolicyReader(WHERE, catalogue, day_of(now_ns))
    warnings: list[str] = []
    added_sanctions = _usable((_sanction(reader, *row, policy.blocked) for row in overlay.sanctions), warnings)
    sanctions = _beside(policy.sanctions, added_sanctions, _where)
    exceptions = _usable((_exception(reader, *row) for row in overlay.exceptions), warnings)
    blocked = _usable((_blocked(reader, row, sanctions) for _, row in overlay.blocked), warnings)
    never_blocked = _usable((_never_blocked(reader, row) for _, row in overlay.never_blocked), warnings)
    decisions = dict(_usable((_decision(reader, *row) for row in overlay.decisions), warnings))
    added = {key: decision for key, decision in decisions.items() if key not in policy.decisions}
    profiles = _profiles_beside(policy, _usable((_profile(reader, row) for row in overlay.profiles), warnings))
    laid_over = replace(
        policy,
        sanctions=sanctions,
        exceptions=_beside(policy.exceptions, exceptions, _who_may),
        blocked=_beside(policy.blocked, blocked, attrgetter("what")),
        never_blocked=_beside(policy.never_blocked, never_blocked, attrgetter("what")),
        decisions=policy.decisions | added,
        decided_in_database=frozenset(added),
        profiles=(*policy.profiles, *profiles),
        profiles_in_database=frozenset(profile.name for profile in profiles),
    )
    in_vain = [warning for warning in blocked_in_vain(laid_over, catalogue) if warning not in policy.warnings]
    return replace(laid_over, warnings=(*policy.warnings, *warnings, *in_vain))


def read_sanction(table: SanctionTable, blocked: Iterable[Blocked], catalogue: Catalogue, now_ns: int) -> Sanction:
    """Return a sanctioned ingress of the database.

    Raises:
        InvalidPolicy: it cannot be used, or the file's entries of `blocked` list it; the message says what to do.
    """
    return _sanction(PolicyReader("sanctioned", catalogue, day_of(now_ns)), "", table, blocked)()


def read_exception(table: ExceptionTable, exception_id: str, catalogue: Catalogue, now_ns: int) -> PolicyException:
    """Return an exception of the database.

    Raises:
        InvalidPolicy: it cannot be used; the message says what to do.
    """
    return _exception(PolicyReader("exception", catalogue, day_of(now_ns)), exception_id, table)()


def read_blocked(table: BlockedTable, sanctions: Iterable[Sanction], catalogue: Catalogue, now_ns: int) -> Blocked:
    """Return an entry of the database.

    Raises:
        InvalidPolicy: it cannot be used, or would block something sanctioned; the message says what to do.
    """
    return _blocked(PolicyReader("blocked", catalogue, day_of(now_ns)), table, sanctions)()


def read_never_blocked(table: BlockedTable, catalogue: Catalogue, now_ns: int) -> Blocked:
    """Return an entry of the database that is kept off every list.

    Raises:
        InvalidPolicy: it cannot be used; the message says what to do.
    """
    return _never_blocked(PolicyReader("never_blocked", catalogue, day_of(now_ns)), table)()


def read_profile(table: ProfileTable, catalogue: Catalogue, now_ns: int) -> Profile:
    """Return a profile of the database.

    Raises:
        InvalidPolicy: it cannot be used; the message says what to do.
    """
    return _profile(PolicyReader("profile", catalogue, day_of(now_ns)), table)()


def is_shadowed(table: ExceptionTable, policy: Policy, catalogue: Catalogue, now_ns: int) -> bool:
    """Tell whether the file has an exception for the same sources and service, which wins."""
    key = _who_may(read_exception(table, "", catalogue, now_ns))
    return any(_who_may(row) == key for row in policy.exceptions if row.origin is PolicyOrigin.FILE)


def _sanction(
    reader: PolicyReader, sanction_id: str, row: SanctionTable, blocked: Iterable[Blocked]
) -> Callable[[], Sanction]:
    def read() -> Sanction:
        sanction = replace(reader.sanction(0, row), id=sanction_id, origin=PolicyOrigin.DATABASE)
        reader.refuse_blocked(0, sanction, (entry for entry in blocked if entry.origin is PolicyOrigin.FILE))
        return sanction

    return read


def _exception(reader: PolicyReader, exception_id: str, row: ExceptionTable) -> Callable[[], PolicyException]:
    return lambda: replace(reader.exception(0, row), id=exception_id, origin=PolicyOrigin.DATABASE)


def _blocked(reader: PolicyReader, row: BlockedTable, sanctions: Iterable[Sanction]) -> Callable[[], Blocked]:
    return lambda: replace(reader.blocked(0, row, sanctions), origin=PolicyOrigin.DATABASE)


def _never_blocked(reader: PolicyReader, row: BlockedTable) -> Callable[[], Blocked]:
    return lambda: replace(reader.never_blocked(0, row), origin=PolicyOrigin.DATABASE)


def _profile(reader: PolicyReader, row: ProfileTable) -> Callable[[], Profile]:
    return lambda: reader.profile(0, row)


def _profiles_beside(policy: Policy, added: Iterable[Profile]) -> list[Profile]:
    """Return those profiles of the database that the file has none of the name of, as many as there is room for."""
    known = {profile.name for profile in policy.profiles}
    room = MAX_PROFILES + len(BUILT_IN) - len(policy.profiles)
    return [profile for profile in added if profile.name not in known][:room]


def _decision(reader: PolicyReader, key: str, value: str) -> Callable[[], tuple[str, Decision]]:
    return lambda: reader.decision(key, value)


def _usable(reads: Iterable[Callable[[], Table]], warnings: list[str]) -> list[Table]:
    found = []
    for read in reads:
        try:
            found.append(read())
        except InvalidPolicy as error:
            warnings.append(f"{error}; the entry has no effect")
    return found


def _beside(file: tuple[Entry, ...], added: Iterable[Entry], key: Callable[[Entry], object]) -> tuple[Entry, ...]:
    """Return the file's entries, then those added that the file does not speak of."""
    known = set(map(key, file))
    return (*file, *(row for row in added if key(row) not in known))


def _where(row: Sanction) -> object:
    return row.domain


def _who_may(row: PolicyException) -> object:
    return row.service, frozenset(row.sources), frozenset(row.who)
