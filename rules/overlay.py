"""What people changed beside the policy file: kept in the database, laid over the file.

Where both speak of the same thing the file wins. What the database holds was checked when it came; when the file or the
catalogue has changed since and an entry cannot be used any more, it is left out with a warning, and all else holds.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TypeVar

import msgspec

from rules.catalogue import Catalogue
from rules.errors import InvalidPolicy
from rules.policy import (
    Blocked,
    Policy,
    PolicyException,
    PolicyOrigin,
    PolicyReader,
    Sanction,
    day_of,
)
from rules.policy_tables import BlockedTable, ExceptionTable
from rules.verdict import Decision

WHERE = "the database"

Table = TypeVar("Table")
Entry = TypeVar("Entry", bound=Blocked | PolicyException)


class Overlay(msgspec.Struct, frozen=True, kw_only=True):
    """What holds beside the file: exceptions by their id, entries of our own lists, decisions by service or category.

    `revision` differs after every change.
    """

    revision: int = 0
    exceptions: tuple[tuple[str, ExceptionTable], ...] = ()
    blocked: tuple[BlockedTable, ...] = ()
    decisions: tuple[tuple[str, str], ...] = ()


EMPTY = Overlay()


def apply_overlay(policy: Policy, overlay: Overlay, catalogue: Catalogue, now_ns: int) -> Policy:
    """Return the policy of the file with `overlay` laid over it, and a warning for each entry that is left out."""
    reader = PolicyReader(WHERE, catalogue, day_of(now_ns))
    warnings: list[str] = []
    rows = ((exception_id, _exception(reader, exception_id, row)) for exception_id, row in overlay.exceptions)
    exceptions = _usable((read for _, read in rows), warnings)
    blocked = _usable((_blocked(reader, row, policy.sanctions) for row in overlay.blocked), warnings)
    decisions = dict(_usable((_decision(reader, *row) for row in overlay.decisions), warnings))
    added = {key: decision for key, decision in decisions.items() if key not in policy.decisions}
    return replace(
        policy,
        exceptions=_beside(policy.exceptions, exceptions, _who_may),
        blocked=_beside(policy.blocked, blocked, _what),
        decisions=policy.decisions | added,
        decided_in_database=frozenset(added),
        warnings=(*policy.warnings, *warnings),
    )


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


def is_shadowed(table: ExceptionTable, policy: Policy, catalogue: Catalogue, now_ns: int) -> bool:
    """Tell whether the file has an exception for the same sources and service, which wins."""
    key = _who_may(read_exception(table, "", catalogue, now_ns))
    return any(_who_may(row) == key for row in policy.exceptions if row.origin is PolicyOrigin.FILE)


def _exception(reader: PolicyReader, exception_id: str, row: ExceptionTable) -> Callable[[], PolicyException]:
    return lambda: replace(reader.exception(0, row), id=exception_id, origin=PolicyOrigin.DATABASE)


def _blocked(reader: PolicyReader, row: BlockedTable, sanctions: Iterable[Sanction]) -> Callable[[], Blocked]:
    return lambda: replace(reader.blocked(0, row, sanctions), origin=PolicyOrigin.DATABASE)


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


def _who_may(row: PolicyException) -> object:
    return row.service, frozenset(row.sources), frozenset(row.who)


def _what(row: Blocked) -> object:
    return row.name, row.is_subtree, row.network, row.path
