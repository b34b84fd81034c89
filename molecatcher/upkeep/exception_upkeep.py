"""Findings and exceptions kept in step when an exception comes, expires or is revoked, with no new event to say so."""

from collections.abc import Callable

import msgspec
import structlog

from db.store import Store
from rules.catalogue.service import CATEGORIES
from rules.policy.policy import PolicyException
from rules.policy.ruleset import Ruleset
from rules.values.event import Event, source_of

log = structlog.get_logger()

PAGE = 500


class ExceptionUpkeep:
    """Reopens findings whose exception has ended; lets new exceptions hold for findings that are there already.

    A look without anything to do costs one query along an index. Findings are changed a page at a time.
    """

    def __init__(self, store: Store, ruleset: Callable[[], Ruleset]) -> None:
        self._store = store
        self._ruleset = ruleset
        self._active: frozenset[PolicyException] = frozenset()

    def look(self, now_ns: int) -> int:
        """Bring the findings up to the exceptions that hold at `now_ns`; return how many changed their state.

        Raises:
            DbError: the database does not answer; the next look does it all.
        """
        rules = self._ruleset()
        active = frozenset(row for row in rules.policy.exceptions if row.is_active(now_ns))
        changed = self._end(active, now_ns)
        if added := active - self._active:
            changed += self._begin(rules, added, now_ns)
        self._active = active
        if changed:
            log.info("findings_followed_exceptions", changed=changed, active=len(active))
        return changed

    def _end(self, active: frozenset[PolicyException], now_ns: int) -> int:
        """Free the findings of exceptions that do not hold any more."""
        ids = {row.id for row in active}
        ended = [finding for finding, held_by in self._store.exceptions_in_use().items() if held_by not in ids]
        pages = (ended[at : at + PAGE] for at in range(0, len(ended), PAGE))
        return sum(self._store.set_finding_exceptions(dict.fromkeys(page), now_ns) for page in pages)

    def _begin(self, rules: Ruleset, added: frozenset[PolicyException], now_ns: int) -> int:
        """Except the findings that a new exception speaks of, those of a category also where they name no service."""
        named = {row.service for row in added}
        known = rules.catalogue.services.values()
        services = [service.id for service in known if service.id in named or service.category in named]
        categories = named.intersection(CATEGORIES)
        changed, after = 0, ""
        while page := self._store.unexcepted_findings(services, categories, after, PAGE):
            wanted = {finding: exception for finding, event in page if (exception := _excepted(rules, event, now_ns))}
            changed += self._store.set_finding_exceptions(wanted, now_ns) if wanted else 0
            after = page[-1][0]
        return changed


def _excepted(rules: Ruleset, event: Event, now_ns: int) -> str | None:
    return rules.exception_for(msgspec.structs.replace(event, observed_at_ns=now_ns), source_of(event))
