"""The policy in force as sensors on other hosts take it: file and overlay together, in the form of an overlay.

A sensor lays it over its own file, if it has one, by the rule that holds everywhere: where both speak of the same thing
the file wins.
"""

from rules.policy.overlay import Overlay
from rules.policy.policy import Blocked, Policy, PolicyException, Sanction
from rules.policy.tables import BlockedTable, ExceptionTable, SanctionTable
from rules.policy.who import TABLE_KEYS


def as_overlay(policy: Policy) -> Overlay:
    """Return what a policy says of verdicts and lists; profiles, which sensors do not need, are left out."""
    return Overlay(
        sanctions=tuple((row.id or row.domain, _sanction(row)) for row in policy.sanctions),
        exceptions=tuple((row.id, _exception(row)) for row in policy.exceptions),
        blocked=tuple((row.entry, _blocked(row)) for row in policy.blocked),
        never_blocked=tuple((row.entry, _blocked(row)) for row in policy.never_blocked),
        decisions=tuple(sorted((key, decision.value) for key, decision in policy.decisions.items())),
    )


def _sanction(row: Sanction) -> SanctionTable:
    return SanctionTable(row.domain, row.service, row.owner, row.reason, row.expires, list(map(str, row.addresses)))


def _exception(row: PolicyException) -> ExceptionTable:
    who = {TABLE_KEYS[name]: sorted(values) for name, values in row.who}
    sources = list(map(str, row.sources))
    return ExceptionTable(
        service=row.service, owner=row.owner, reason=row.reason, sources=sources, expires=row.expires, **who
    )


def _blocked(row: Blocked) -> BlockedTable:
    return BlockedTable(entry=row.entry, owner=row.owner, reason=row.reason, expires=row.expires)
