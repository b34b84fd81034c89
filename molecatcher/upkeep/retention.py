"""Removes what is older than the settings say, in a thread of its own, a little at a time."""

from collections.abc import Callable

import structlog

from db.errors import DbError
from db.retention import ROWS_A_TRANSACTION, Aging
from db.store import Store
from molecatcher.background import BackgroundLoop
from molecatcher.settings import Settings

log = structlog.get_logger()

LOOK_S = 600.0
PAUSE_S = 0.2  # between two transactions: so that those who write find the lock free
DAY_NS = 86_400 * 1_000_000_000


class Retention(BackgroundLoop):
    """Looks every ten minutes. A transaction removes 500 rows at most; between two the lock is free for a while."""

    def __init__(self, store: Store, settings: Settings, now_ns: Callable[[], int]) -> None:
        super().__init__("retention", LOOK_S)
        self._store = store
        self._kept_days = {
            Aging.EVENTS: settings.keep_events_days,
            Aging.FINDINGS: settings.keep_findings_days,
            Aging.FINDING_PARTS: settings.keep_events_days,
            Aging.EXCEPTIONS: settings.keep_findings_days,
            Aging.SENSORS: settings.keep_sensors_days,
            Aging.TOKENS: settings.keep_sensors_days,
            Aging.DAILY_SUMS: settings.keep_events_days,
            Aging.SUMS: settings.keep_findings_days,
            Aging.SOURCES: settings.keep_findings_days,
        }
        self._now_ns = now_ns

    def look(self) -> int:
        """Remove everything that is too old now; return how many rows left.

        Raises:
            DbError: the database does not answer; the next look goes on.
        """
        total = 0
        for what, days in self._kept_days.items():
            before_ns = self._now_ns() - days * DAY_NS
            removed = ROWS_A_TRANSACTION
            while removed == ROWS_A_TRANSACTION and not self.is_stopping:
                removed = self._store.retention.purge(what, before_ns)
                total += removed
                if removed:
                    self.rest(PAUSE_S)
        if total:
            self._remove_facets()
        return total

    def _remove_facets(self) -> None:
        """Remove the facets that nothing has any more."""
        looked_at: int | None = 0
        while looked_at is not None and not self.is_stopping:
            looked_at = self._store.retention.purge_facets(looked_at)
            self.rest(PAUSE_S)

    def step(self) -> float:
        """Look, and again in ten minutes."""
        try:
            if removed := self.look():
                log.info("old_rows_removed", rows=removed)
        except DbError as error:
            log.warning("old_rows_not_removed", reason=str(error))
        return LOOK_S
