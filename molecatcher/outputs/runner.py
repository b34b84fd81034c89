"""Keeps every output going: each in a thread of its own, so that one that is slow holds up nobody else.

An output's place in the order of commits is kept in the database, so a restart resumes there. While deliveries fail it
tries again ever more seldom; a batch that still fails a day after the failures began goes to the dead letters, and the
next one is tried. Holds one page of events an output.
"""

import random
import secrets
from collections.abc import Sequence

import structlog

from api.errors import SealBroken
from api.sealed import Seal
from db.errors import DbError
from db.store import Store
from db.values import IngestedEvent
from db.workflow.output_values import DeadLetter, Output
from molecatcher.background import BackgroundLoop
from molecatcher.outputs.errors import DeliveryFailed
from molecatcher.outputs.senders import Means, send
from molecatcher.outputs.trial import trial_event
from rules.values.event import Event, uuid7

log = structlog.get_logger()

PAGE = 500
BATCH = 50
LOOK_S = 1.0
FIRST_WAIT_S = 2.0
LONGEST_WAIT_S = 3600.0
GIVE_UP_NS = 24 * 3600 * 1_000_000_000
MAX_DOUBLINGS = 11
SHOWN = 200


class OutputRunner(BackgroundLoop):
    """Delivers to one output until it is stopped or removed."""

    def __init__(self, output_id: str, store: Store, seal: Seal, means: Means) -> None:
        super().__init__(f"output-{output_id[:8]}")
        self.output_id = output_id
        self._store = store
        self._seal = seal
        self._means = means
        self._failures = 0

    def deliver(self) -> bool:
        """Deliver a page of events; tell whether there may be more.

        Raises:
            DbError: the database does not answer.
            DeliveryFailed: the output did not take them; that is noted.
        """
        output = self._store.outputs.output(self.output_id)
        if output is None:
            self.stop()
            return False
        if output.is_paused:
            return False
        rows = self._store.ingested_after(output.place, PAGE)
        wanted = [row for row in rows if output.wanted.takes(row.event)]
        for at in range(0, len(wanted), BATCH):
            if self.is_stopping:
                return False
            self._deliver_batch(output, wanted[at : at + BATCH])
        if rows:
            self._store.outputs.note_delivered(self.output_id, rows[-1].ingest_seq, 0, self._means.now_ns())
        return len(rows) == PAGE

    def replay(self, letters: Sequence[DeadLetter], events: Sequence[Event]) -> None:
        """Deliver dead letters again; those that are taken leave."""
        output = self._store.outputs.output(self.output_id)
        if output is not None:
            self._send(output, events)
            self._store.outputs.forget_letters([letter.letter_id for letter in letters])

    def try_out(self) -> None:
        """Send an event that says it is a trial; neither place nor counters change.

        Raises:
            DeliveryFailed: the output did not take it.
        """
        output = self._store.outputs.output(self.output_id)
        if output is not None:
            self._send(output, [trial_event(output.name, self._means.now_ns())])

    def step(self) -> float:
        """Deliver a page; an output or a database that fails is left alone for a while."""
        try:
            wait_s = 0.0 if self.deliver() else LOOK_S
        except DeliveryFailed as error:
            wait_s = self._back_off()
            log.warning("output_failed", output=self.output_id, reason=str(error), next_try_s=round(wait_s))
            return wait_s
        except DbError as error:
            log.warning("output_waits", output=self.output_id, reason=str(error))
            return LOOK_S * 5
        self._failures = 0
        return wait_s

    def _deliver_batch(self, output: Output, rows: Sequence[IngestedEvent]) -> None:
        outputs, place, now_ns = self._store.outputs, rows[-1].ingest_seq, self._means.now_ns()
        try:
            self._send(output, [row.event for row in rows])
        except DeliveryFailed as error:
            outputs.note_failure(self.output_id, str(error)[:SHOWN], now_ns)
            if output.failing_since_ns is not None and now_ns - output.failing_since_ns >= GIVE_UP_NS:
                outputs.bury(self.output_id, place, [_letter(output, row, str(error), now_ns) for row in rows])
                log.error("events_not_delivered", output=output.name, events=len(rows), reason=str(error))  # noqa: TRY400 - expected
            raise
        outputs.note_delivered(self.output_id, place, len(rows), self._means.now_ns())

    def _send(self, output: Output, events: Sequence[Event]) -> None:
        try:
            send(output, self._seal.open(output.secrets), events, self._means)
        except SealBroken as error:
            raise DeliveryFailed(str(error)) from None

    def _back_off(self) -> float:
        self._failures += 1
        longest: float = min(FIRST_WAIT_S * 2 ** min(self._failures, MAX_DOUBLINGS), LONGEST_WAIT_S)
        return longest * random.uniform(0.5, 1.0)  # noqa: S311 - so that many do not come back at the same moment


def _letter(output: Output, row: IngestedEvent, error: str, now_ns: int) -> DeadLetter:
    """Return an event that is given up; ids of one moment are in the order in which events were committed."""
    return DeadLetter(
        letter_id=uuid7(now_ns, row.ingest_seq << 32 | secrets.randbits(32)),
        output_id=output.output_id,
        event_id=row.event.event_id,
        at_ns=now_ns,
        error=error[:SHOWN],
    )


class Outputs:
    """Starts and stops runners as outputs come and go."""

    def __init__(self, store: Store, seal: Seal, means: Means) -> None:
        self._store = store
        self._seal = seal
        self._means = means
        self._runners: dict[str, OutputRunner] = {}

    def look(self) -> None:
        """Start what is new, stop what is gone.

        Raises:
            DbError: the database does not answer; what runs goes on.
        """
        known = {output.output_id for output in self._store.outputs.outputs()}
        for output_id in self._runners.keys() - known:
            self._runners.pop(output_id).stop()
        for output_id in known:
            runner = self._runners.get(output_id)
            if runner is None or not runner.is_alive:
                self._runners[output_id] = runner = OutputRunner(output_id, self._store, self._seal, self._means)
                runner.start()

    def replay(self, output_id: str) -> int:
        """Deliver an output's dead letters again, in their order; return how many were taken.

        Raises:
            DeliveryFailed: the output does not take them; those that it took before have left.
        """
        runner = OutputRunner(output_id, self._store, self._seal, self._means)
        taken = 0
        while letters := self._store.outputs.dead_letters(output_id, None, BATCH):
            found = [self._store.event(letter.event_id) for letter in letters]
            runner.replay(letters, [event for event in found if event is not None])
            taken += len(letters)
        return taken

    def try_out(self, output_id: str) -> None:
        """Send a trial event to an output, also to one that is paused.

        Raises:
            DeliveryFailed: the output did not take it.
        """
        OutputRunner(output_id, self._store, self._seal, self._means).try_out()

    def stop(self) -> None:
        """Stop all of them; what was not delivered is at the next start."""
        for runner in self._runners.values():
            runner.stop()
        for runner in self._runners.values():
            runner.join(2.0)
