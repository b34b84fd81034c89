"""Who pulled which list when: one record for each consumer, list, profile and format, in memory, written now and then.

A pull costs a look-up and a few assignments. The records outlive restarts; while the database is away they wait.
"""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass

import msgspec
import structlog
from starlette.requests import Request

from api.context import Snapshots
from api.times import NS_PER_S
from db.access.values import Token
from db.errors import DbError
from db.lists.values import PullRecord
from db.store import Store
from rules.lists.blocklist import ListName

MAX_RECORDS = 10_000
LATELY_NS = 3600 * NS_PER_S
MAX_AGENT = 100

log = structlog.get_logger("api")


@dataclass(frozen=True, slots=True)
class Consumer:
    """Who pulls: the holder of a token, or whoever asks from an address; what it calls itself is what it says."""

    token_id: str
    name: str
    address: str
    user_agent: str

    @classmethod
    def of(cls, request: Request, token: Token | None) -> "Consumer":
        """Return who makes a request."""
        address = request.client.host if request.client else ""
        agent = "".join(filter(str.isprintable, request.headers.get("user-agent", "")[:MAX_AGENT]))
        return cls(token.token_id if token else "", token.name if token else "", address, agent)

    @property
    def key(self) -> tuple[str, str, str]:
        """Return what it is known by: two firewalls with one token are two, and so are two programs of one host."""
        return self.token_id, self.address, "" if self.token_id else self.user_agent


@dataclass(frozen=True, slots=True)
class Pulled:
    """What was asked for: a list in a profile and a format (an extension, or a protocol such as `taxii`)."""

    list_name: ListName
    profile: str
    form: str


class PullLog:
    """The newest pull of every consumer. Bounded: `MAX_RECORDS`; who pulled longest ago is dropped, and counted."""

    def __init__(self, store: Store, now_ns: Callable[[], int], max_records: int = MAX_RECORDS) -> None:
        self.dropped = 0
        self._store = store
        self._now_ns = now_ns
        self._max_records = max_records
        self._records: OrderedDict[str, PullRecord] = OrderedDict()  # the newest pull last
        self._ids: dict[tuple[object, ...], str] = {}
        self._changed: set[str] = set()
        self._changing = threading.Lock()
        self._writing = threading.Lock()
        self._loading = threading.Lock()
        self._is_loaded = False

    def note(self, consumer: Consumer, what: Pulled, serial: int | None, status: int) -> None:
        """Note a pull, served with `serial`; None where it was not served."""
        with self._changing:
            self._note(consumer, what, serial, status, self._now_ns())

    def records(self) -> list[PullRecord]:
        """Return all records, the newest pull first."""
        self._load()
        with self._changing:
            return list(reversed(self._records.values()))

    def formats(self, list_name: ListName, profile: str) -> frozenset[str]:
        """Return the formats in which somebody pulled a list lately, as far as is known without the database."""
        since_ns = self._now_ns() - LATELY_NS
        with suppress(DbError):
            self._load()
        with self._changing:
            records = list(self._records.values())
        return frozenset(
            row.format
            for row in records
            if (row.list_name, row.profile) == (list_name, profile) and row.last_pull_ns >= since_ns
        )

    def flush(self) -> None:
        """Write what was not written yet; while the database is away it waits."""
        with self._writing:
            self._write(self._now_ns())

    def _note(self, consumer: Consumer, what: Pulled, serial: int | None, status: int, now_ns: int) -> None:
        key = (*consumer.key, what.list_name, what.profile, what.form)
        pull_id = self._ids.get(key) or _pull_id(key)
        before = self._records.pop(pull_id, None)
        is_served = serial is not None
        has_new = is_served and (before is None or before.serial != serial)
        self._records[pull_id] = PullRecord(
            pull_id=pull_id,
            token_id=consumer.token_id,
            consumer=consumer.name,
            address=consumer.address,
            user_agent=consumer.user_agent,
            list_name=what.list_name,
            profile=what.profile,
            format=what.form,
            serial=serial if serial is not None else before.serial if before else 0,
            status=status,
            first_pull_ns=before.first_pull_ns if before else now_ns,
            last_pull_ns=now_ns,
            changed_ns=now_ns if has_new else before.changed_ns if before else 0,
            pulls=(before.pulls if before else 0) + is_served,
            failures=(before.failures if before else 0) + (not is_served),
        )
        self._ids[key] = pull_id
        self._changed.add(pull_id)
        if len(self._records) > self._max_records:
            self._changed.discard(self._records.popitem(last=False)[0])
            self._ids = {key: kept for key, kept in self._ids.items() if kept in self._records}
            self.dropped += 1

    def _load(self) -> None:
        """Take up what was written before this program started, beneath what was pulled since."""
        with self._loading:
            if self._is_loaded:
                return
            kept = self._store.pulls(self._max_records)
            with self._changing:
                newer = self._records
                self._records = OrderedDict((row.pull_id, row) for row in reversed(kept))
                for pull_id, row in newer.items():
                    self._records[pull_id] = _joined(self._records.pop(pull_id, None), row)
                self._is_loaded = True

    def _write(self, now_ns: int) -> None:
        with self._changing:
            changed, self._changed = self._changed, set()
        try:
            self._load()
            rows = [row for pull_id in changed if (row := self._records.get(pull_id)) is not None]
            if rows:
                self._store.save_pulls(rows, now_ns)
        except DbError as error:
            with self._changing:
                self._changed |= changed
            log.info("pulls_not_written", reason=str(error))


def is_behind(record: PullRecord, in_force: int, superseded_ns: int | None, now_ns: int, after_ns: int) -> bool:
    """Tell whether a consumer still has an older serial `after_ns` after it was superseded (None: long ago)."""
    if record.serial >= in_force:
        return False
    return superseded_ns is None or now_ns - superseded_ns >= after_ns


class ConsumerStates:
    """Says of every record whether its consumer is behind."""

    def __init__(self, store: Store, snapshot: Snapshots, pulls: PullLog, after_ns: int) -> None:
        self.after_ns = after_ns
        self._store = store
        self._snapshot = snapshot
        self._pulls = pulls

    @property
    def dropped(self) -> int:
        """Return how many records made room for others."""
        return self._pulls.dropped

    def states(self, now_ns: int, records: Iterable[PullRecord] | None = None) -> list[tuple[PullRecord, int, bool]]:
        """Return the records, newest pull first, each with the serial in force (0: none) and whether it is behind."""
        superseded: dict[tuple[str, str], dict[int, int]] = {}
        found = []
        for record in self._pulls.records() if records is None else records:
            key = (record.list_name, record.profile)
            snapshot = self._snapshot(ListName(record.list_name), record.profile)
            in_force = snapshot.serial if snapshot else 0
            if key not in superseded and record.serial < in_force:
                superseded[key] = {row.serial: row.created_at_ns for row in self._store.snapshots(*key)}
            since_ns = superseded.get(key, {}).get(record.serial + 1)
            found.append((record, in_force, is_behind(record, in_force, since_ns, now_ns, self.after_ns)))
        return found


def consumers_of(request: Request) -> ConsumerStates:
    """Return what is known of the consumers of the application that answers a request."""
    states: ConsumerStates = request.app.state.consumers
    return states


def note_pull(request: Request, token: Token | None, what: Pulled, serial: int | None, status: int) -> None:
    """Note a pull by whoever makes a request."""
    pulls: PullLog = request.app.state.pulls
    pulls.note(Consumer.of(request, token), what, serial, status)


def _pull_id(key: tuple[object, ...]) -> str:
    return hashlib.sha256(msgspec.json.encode([str(part) for part in key])).hexdigest()[:24]


def _joined(before: PullRecord | None, after: PullRecord) -> PullRecord:
    """Return the record of the same consumer before and after a restart."""
    if before is None:
        return after
    return msgspec.structs.replace(
        after,
        first_pull_ns=before.first_pull_ns,
        changed_ns=before.changed_ns if after.serial == before.serial else after.changed_ns,
        serial=after.serial or before.serial,
        pulls=before.pulls + after.pulls,
        failures=before.failures + after.failures,
    )
