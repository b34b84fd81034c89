"""Refusals in the audit log: the first of a caller and an action at once, those of the minute after it as one entry.

So a caller who may not, or a program that asks again and again, does not fill the log, and no refusal goes uncounted.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass

import msgspec
import structlog
from starlette.requests import Request

from api.access.audit import entry_of, keep
from api.access.principal import Principal
from api.times import NS_PER_S
from db.access.audit import MAX_TEXT
from db.access.values import AuditEntry, AuditOutcome
from db.errors import DbError
from db.store import Store
from rules.values.event import rfc3339

MAX_SUMS = 4096
SUMMED_NS = 60 * NS_PER_S

log = structlog.get_logger("api")


@dataclass(slots=True)
class _Sum:
    """The refusals of one caller and action that no entry speaks of yet, and the last of them."""

    last: AuditEntry
    count: int = 0
    noted_ns: int = 0  # when the newest entry was written; 0: none was


class Refusals:
    """What was refused lately. Bounded: `MAX_SUMS` callers and actions; of more, the oldest is written early."""

    def __init__(self, store: Store, now_ns: Callable[[], int], max_sums: int = MAX_SUMS) -> None:
        self._store = store
        self._now_ns = now_ns
        self._max_sums = max_sums
        self._sums: dict[tuple[str, ...], _Sum] = {}
        self._changing = threading.Lock()

    def note(self, entry: AuditEntry) -> None:
        """Keep a refusal: as an entry, or in the sum of a minute.

        Raises:
            DbError: an entry was due and could not be written; it stays in the sum.
        """
        key = (entry.actor_kind, entry.actor_id, entry.action, entry.outcome)
        if key not in self._sums and len(self._sums) >= self._max_sums:
            self._make_room()
        with self._changing:
            found = self._sums.setdefault(key, _Sum(entry))
            found.last, found.count = entry, found.count + 1
            is_due = abs(entry.at_ns - found.noted_ns) >= SUMMED_NS
        if is_due:
            self._write(found, entry.at_ns)

    def flush(self) -> None:
        """Write the sums whose minute is over; while the database is away they wait."""
        now_ns = self._now_ns()
        self._write_all([found for found in self._all() if abs(now_ns - found.noted_ns) >= SUMMED_NS], now_ns)

    def close(self) -> None:
        """Write every sum."""
        self._write_all(self._all(), self._now_ns())

    def _all(self) -> list[_Sum]:
        with self._changing:
            return list(self._sums.values())

    def _write_all(self, due: list[_Sum], now_ns: int) -> None:
        try:
            for found in due:
                self._write(found, now_ns)
        except DbError as error:
            log.info("refusals_not_written", reason=str(error))
        with self._changing:
            idle = [key for key, it in self._sums.items() if not it.count and abs(now_ns - it.noted_ns) >= SUMMED_NS]
            for key in idle:
                del self._sums[key]

    def _make_room(self) -> None:
        with self._changing:
            key, oldest = next(iter(self._sums.items()))
        self._write(oldest, self._now_ns())
        with self._changing:
            if not oldest.count:
                self._sums.pop(key, None)

    def _write(self, found: _Sum, now_ns: int) -> None:
        with self._changing:
            count, since_ns, last = found.count, found.noted_ns, found.last
            found.count, found.noted_ns = 0, now_ns
        if not count:
            return
        try:
            keep(self._store, _summed(last, count, since_ns, now_ns))
        except DbError:
            with self._changing:
                found.count, found.noted_ns = found.count + count, since_ns
            raise


def note_refusal(request: Request, action: str, target: str, *, principal: Principal, detail: str = "") -> None:
    """Have it in the audit log that `principal` was refused `action` on `target`.

    Raises:
        DbError: it should have been written at once and was not.
    """
    refusals: Refusals = request.app.state.refusals
    entry = entry_of(request, principal, action, target)
    refusals.note(msgspec.structs.replace(entry, outcome=AuditOutcome.REFUSED, detail=detail[:MAX_TEXT]))


def _summed(last: AuditEntry, count: int, since_ns: int, now_ns: int) -> AuditEntry:
    """Return the entry of `count` refusals, of which `last` is one, written now.

    Its time is that of the writing: whoever reads the log from where they stopped must not miss it.
    """
    if count == 1 and last.at_ns == now_ns:
        return last
    times = "once" if count == 1 else f"{count} times"
    since = f" since {rfc3339(since_ns)}" if since_ns else ""
    words = [last.detail, f"{times}{since}, the last at {rfc3339(last.at_ns)}"]
    return msgspec.structs.replace(last, at_ns=now_ns, detail="; ".join(filter(None, words))[:MAX_TEXT])
