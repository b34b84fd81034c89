"""A change of the policy that somebody thinks about: what would be in force with it, and what they should know."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TypeVar

import msgspec

from rules.lists.address_building import withheld_services
from rules.policy.overlay import Overlay
from rules.policy.policy import Policy, PolicyException, PolicyOrigin, Sanction
from rules.policy.tables import BlockedTable, ExceptionTable, SanctionTable
from rules.values.verdict import Decision

Row = TypeVar("Row")
DRAFT = "draft"  # the id of what has none yet


class PolicyDraft(msgspec.Struct, frozen=True, kw_only=True):
    """What would be added, decided (None: a decision taken back), and removed by its id."""

    sanctions: tuple[SanctionTable, ...] = ()
    exceptions: tuple[ExceptionTable, ...] = ()
    blocked: tuple[BlockedTable, ...] = ()
    never_blocked: tuple[BlockedTable, ...] = ()
    decisions: dict[str, Decision | None] = {}
    removed: frozenset[str] = frozenset()


def with_draft(overlay: Overlay, draft: PolicyDraft) -> Overlay:
    """Return the overlay as it would be after the change."""
    given = {key: value.value for key, value in draft.decisions.items() if value is not None}
    kept = ((key, value) for key, value in overlay.decisions if key not in draft.decisions)
    return msgspec.structs.replace(
        overlay,
        sanctions=(*_kept(overlay.sanctions, draft), *((DRAFT, row) for row in draft.sanctions)),
        exceptions=(*_kept(overlay.exceptions, draft), *((DRAFT, row) for row in draft.exceptions)),
        blocked=(*_kept(overlay.blocked, draft), *((DRAFT, row) for row in draft.blocked)),
        never_blocked=(*_kept(overlay.never_blocked, draft), *((DRAFT, row) for row in draft.never_blocked)),
        decisions=(*kept, *given.items()),
    )


def file_part(policy: Policy) -> Policy:
    """Return what the file says of a policy in force."""
    return replace(
        policy,
        sanctions=tuple(row for row in policy.sanctions if row.origin is PolicyOrigin.FILE),
        exceptions=tuple(row for row in policy.exceptions if row.origin is PolicyOrigin.FILE),
        blocked=tuple(row for row in policy.blocked if row.origin is PolicyOrigin.FILE),
        never_blocked=tuple(row for row in policy.never_blocked if row.origin is PolicyOrigin.FILE),
        decisions={key: value for key, value in policy.decisions.items() if key not in policy.decided_in_database},
        decided_in_database=frozenset(),
        profiles=tuple(row for row in policy.profiles if row.name not in policy.profiles_in_database),
        profiles_in_database=frozenset(),
        warnings=(),
    )


def cautions(before: Policy, after: Policy, now_ns: int) -> Iterator[str]:
    """Yield sentences about a change that is allowed and may not be what was meant."""
    for sanction in _new(before.sanctions, after.sanctions):
        yield from _of_sanction(sanction, now_ns)
    for exception in _new(before.exceptions, after.exceptions):
        yield from _of_exception(exception, now_ns)
    for entry in (*_new(before.blocked, after.blocked), *_new(before.never_blocked, after.never_blocked)):
        if not entry.is_active(now_ns):
            yield f"{entry.name or entry.network} expired on {entry.expires}: it would have no effect"
    for entry in _new(before.blocked, after.blocked):
        if entry.name and after.is_spared(entry.name, now_ns):
            yield f"{entry.name} is never blocked: the entry would have no effect"
    was = withheld_services(before, now_ns)
    for service, why in withheld_services(after, now_ns).items():
        if service not in was:
            yield f"No address of {service} would be on the address list: {why}"


def _new(before: Iterable[Row], after: Iterable[Row]) -> list[Row]:
    known = list(before)
    return [row for row in after if row not in known]


def _of_sanction(sanction: Sanction, now_ns: int) -> Iterator[str]:
    if not sanction.is_active(now_ns):
        yield f"{sanction.domain} expired on {sanction.expires}: it would have no effect"
    elif sanction.expires is None:
        yield f"{sanction.domain} would be sanctioned for good: give a last day if it is not meant so"


def _of_exception(exception: PolicyException, now_ns: int) -> Iterator[str]:
    if not exception.is_active(now_ns):
        yield f"The exception for {exception.service} expired on {exception.expires}: it would have no effect"
    if not exception.who and any(network.prefixlen == 0 for network in exception.sources):
        yield f"Everybody might use {exception.service}: decide `ignore` or `monitor` about it if that is meant"


def _kept(rows: tuple[tuple[str, Row], ...], draft: PolicyDraft) -> Iterator[tuple[str, Row]]:
    return (row for row in rows if row[0] not in draft.removed)
