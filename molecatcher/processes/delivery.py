"""From the spool to the store, in a thread of its own: the sensor never waits for a database."""

import threading
from collections import Counter
from collections.abc import Sequence
from typing import Protocol

import structlog

from db.errors import DbError
from db.values import AppendResult
from rules.values.event import Event
from rules.values.sensor_status import SensorStatus
from sensor.spool import Batch, Spool

log = structlog.get_logger()

SHORTEST_WAIT_S = 0.5
LONGEST_WAIT_S = 30.0
REST_S = 1.0  # after events were stored: a transaction costs as much as twenty more events in it
MOST_EVENTS = 500  # in a transaction


class EventSink(Protocol):
    """What takes events and heartbeats: the database, or the API of another host."""

    def append(self, batch: Sequence[Event]) -> AppendResult:
        """Keep events; when it returns they are safe."""

    def save_heartbeat(self, status: SensorStatus) -> None:
        """Keep a sensor's newest heartbeat."""


class Delivery:
    """Delivers spooled batches and heartbeats; while the store is away it waits ever longer, up to 30 s.

    After events it rests for a second; what comes after a quiet time is delivered at once.

    A batch leaves the spool only when the store has acknowledged it, so a crash at any moment delivers it again.
    """

    def __init__(self, spool: Spool, store: EventSink) -> None:
        self.counters: Counter[str] = Counter()
        self._spool = spool
        self._store = store
        self._status: SensorStatus | None = None
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="delivery")

    @property
    def is_alive(self) -> bool:
        """Tell whether the thread runs; without it nothing is delivered."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Begin to deliver what the spool holds."""
        self._thread.start()

    def notify(self, status: SensorStatus | None = None) -> None:
        """Say that there is something to deliver; of several heartbeats the newest counts."""
        if status is not None:
            self._status = status
        self._wake.set()

    def stop(self, timeout_s: float = 5.0) -> None:
        """Deliver what can be delivered at once and end the thread; the rest stays in the spool."""
        self._stopping.set()
        self._wake.set()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        wait_s = SHORTEST_WAIT_S
        while not self._is_told_to_stop():
            before = self.counters["delivered"]
            if self._try():
                wait_s = SHORTEST_WAIT_S
                if self.counters["delivered"] > before:
                    self._stopping.wait(REST_S)
                self._wake.wait()
            else:
                self._stopping.wait(wait_s)
                wait_s = min(wait_s * 2, LONGEST_WAIT_S)
        self._try()

    def _is_told_to_stop(self) -> bool:
        """Tell whether it was; whatever is said after this look wakes the thread."""
        self._wake.clear()
        return self._stopping.is_set()

    def _try(self) -> bool:
        try:
            self._deliver()
        except (DbError, OSError) as error:  # OSError: the spool, on a disk that fails or was remounted read-only
            self.counters["store_failures"] += 1
            log.warning("delivery_failed", error=str(error), waiting_octets=self._spool.waiting_octets)
            return False
        return True

    def _deliver(self) -> None:
        events: list[Event] = []
        held: list[Batch] = []
        for batch in self._spool.batches():
            if held and len(events) + len(batch.events) > MOST_EVENTS:
                self._store_all(events, held)
                events, held = [], []
            events += batch.events
            held.append(batch)
        self._store_all(events, held)

    def _store_all(self, events: list[Event], held: list[Batch]) -> None:
        """Store the events of `held` in one transaction, and only then let these leave the spool."""
        result = self._store.append(events)
        self.counters["delivered"] += len(events)
        for rejected in result.rejected:
            self.counters["rejected"] += 1
            log.error("event_rejected", event_id=rejected.event_id, problem=rejected.problem)
        for batch in held:
            self._spool.discard(batch)
        self._save_heartbeat()

    def _save_heartbeat(self) -> None:
        """Deliver the newest heartbeat, between two batches too: that many wait must show while they do."""
        status = self._status
        if status is None:
            return
        self._store.save_heartbeat(status)
        if self._status is status:  # a newer one may have come meanwhile
            self._status = None
