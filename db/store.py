"""The store: one method a question, one transaction a method.

Every method raises `db.errors.StoreUnavailable` when nothing was done and trying again may help, `StoreUnusable` when a
person is needed. A store may be used by several threads, and its file by several processes.
"""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Self

from sqlalchemy import Engine, update

from db import forgetting
from db.access.audit import ACT, Act
from db.access.store import AccessStore
from db.errors import DbError
from db.events import aggregates, events, evidence, sensors, sightings
from db.events.evidence import DEFAULT_EVIDENCE_LIMIT
from db.findings import findings, history
from db.lists import pulls, resolutions, snapshots
from db.lists.values import PullRecord, Resolution, SnapshotRow
from db.retention import RetentionStore
from db.schema import version
from db.schema.models import WRITE_PROBE, MetaRow
from db.sql.engine import DEFAULT_BUSY_TIMEOUT_MS, connect_engine, parse_location, reading, writing
from db.values import (
    ALL_EVENTS,
    Aggregation,
    AppendResult,
    EventCursor,
    EventFilter,
    EvidenceUsage,
    Finding,
    FindingChange,
    FindingCursor,
    FindingFilter,
    FindingState,
    Group,
    HistoryEntry,
    IngestedEvent,
    NameSighting,
    ServiceCount,
)
from db.workflow.answered import AnsweredStore
from db.workflow.outputs import OutputStore
from db.workflow.policy import PolicyStore
from db.workflow.searches import SearchStore
from rules.policy.profiles import DEFAULT_PROFILE
from rules.values.event import Event
from rules.values.sensor_status import SensorStatus
from rules.values.verdict import Outcome


def open_store(
    url_or_path: str | Path,
    *,
    busy_timeout_ms: int = DEFAULT_BUSY_TIMEOUT_MS,
    evidence_limit: int = DEFAULT_EVIDENCE_LIMIT,
    now_ns: Callable[[], int] = time.time_ns,
) -> "Store":
    """Return the store in this file, created or upgraded as needed; `busy_timeout_ms` bounds the wait for a lock.

    `evidence_limit` is how many octets of packets are kept in all; those of the oldest events make room. `now_ns` is
    the clock by which events say when they were received.

    Raises:
        StoreUnusable: not a database of ours, corrupt, not writable, or from a newer version.
        StoreUnavailable: locked, or the disk is full.
    """
    engine = connect_engine(parse_location(url_or_path), busy_timeout_ms)
    try:
        version.upgrade(engine)
    except DbError:
        engine.dispose()
        raise
    return Store(engine, evidence_limit, now_ns)


class Store(AccessStore):
    """Events, findings, sensors, snapshots, resolutions and tokens in one database.

    `policy`, `searches`, `answered` and `outputs` are what people do over the API.
    """

    def __init__(
        self,
        engine: Engine,
        evidence_limit: int = DEFAULT_EVIDENCE_LIMIT,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._engine = engine
        self._evidence_limit = evidence_limit
        self._now_ns = now_ns
        self.policy = PolicyStore(engine)
        self.searches = SearchStore(engine)
        self.answered = AnsweredStore(engine)
        self.outputs = OutputStore(engine)
        self.retention = RetentionStore(engine)

    def on_behalf_of(self, act: Act) -> "Store":
        """Return the same store where whatever people change is noted as what `act` did, in the same transaction."""
        return Store(self._engine.execution_options(**{ACT: act}), self._evidence_limit, self._now_ns)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close every connection that is not in use."""
        self._engine.dispose()

    def is_writable(self) -> bool:
        """Tell whether a small write succeeds now; a disk that is nearly full may still refuse a large batch."""
        try:
            with writing(self._engine) as connection:
                connection.execute(update(MetaRow).where(MetaRow.name == WRITE_PROBE).values(value=MetaRow.value + 1))
        except DbError:
            return False
        return True

    def append(self, batch: Sequence[Event], *, is_retold: bool = False) -> AppendResult:
        """Write events and their findings, all in one transaction, and return what became of them.

        When it returns, they survive the end of the process and of the machine. Of several revisions the highest wins;
        what is known already changes nothing, so a batch may be sent again. An event that the database cannot hold is
        reported in the result and does not hinder the others. Where a story `is_retold` from its beginning (a recording
        that has grown), revisions begin anew too: then that wins which has counted most, and is given a higher one.
        """
        if not batch:
            return AppendResult()
        with writing(self._engine) as connection:
            result = events.append(connection, batch, self._now_ns(), is_retold=is_retold)
            evidence.append(connection, batch, self._evidence_limit, {row.event_id for row in result.rejected})
            return result

    def make_ready(self) -> None:
        """Make the statements that `append` takes, so that the first event does not wait for them (10 ms)."""
        with reading(self._engine) as connection:
            events.make_ready(connection)
            evidence.make_ready(connection)

    def event(self, event_id: str) -> Event | None:
        """Return one event, None when there is none."""
        with reading(self._engine) as connection:
            return events.event(connection, event_id)

    def event_sensors(self, event_ids: Sequence[str]) -> dict[str, str]:
        """Return whose each of these events is, of those that are known."""
        with reading(self._engine) as connection:
            return events.sensors_of(connection, event_ids)

    def evidence(self, event_id: str) -> bytes | None:
        """Return the packets that an event rests on as a pcapng file, None when there are none."""
        with reading(self._engine) as connection:
            return evidence.evidence(connection, event_id)

    def evidence_usage(self) -> EvidenceUsage:
        """Return how much evidence there is, and of how many events it made room for newer."""
        with reading(self._engine) as connection:
            return evidence.usage(connection)

    def events(self, wanted: EventFilter, limit: int, after: EventCursor | None = None) -> list[Event]:
        """Return up to `limit` events, newest first; the next page is `after` the last event of this one."""
        with reading(self._engine) as connection:
            return events.events_page(connection, wanted, limit, after)

    def has_events_of(self, sensor_id: str) -> bool:
        """Tell whether anything that this sensor reported is there, or was before it grew too old."""
        with reading(self._engine) as connection:
            return forgetting.is_known(connection, sensor_id)

    def forget_events_of(self, sensor_id: str) -> int:
        """Remove all that this sensor reported, and what it added up to; return how many events there were.

        Some hundreds a transaction: what failed half-way is finished by another call.
        """
        total, removed = 0, forgetting.EVENTS_A_TRANSACTION
        while removed == forgetting.EVENTS_A_TRANSACTION:
            with writing(self._engine) as connection:
                removed = forgetting.forget_events(connection, sensor_id)
                total += removed
                if removed < forgetting.EVENTS_A_TRANSACTION:
                    forgetting.forget_sums(connection, sensor_id)
        return total

    def ingested_after(self, ingest_seq: int, limit: int, wanted: EventFilter = ALL_EVENTS) -> list[IngestedEvent]:
        """Return up to `limit` events committed after `ingest_seq`, oldest commit first; a new revision comes again."""
        with reading(self._engine) as connection:
            return events.ingested_after(connection, ingest_seq, limit, wanted)

    def last_ingest_seq(self) -> int:
        """Return where a stream of new events begins."""
        with reading(self._engine) as connection:
            return events.last_ingest_seq(connection)

    def service_counts(self, from_ns: int, to_ns: int) -> list[ServiceCount]:
        """Return the counts of each service observed in the window, the busiest first."""
        with reading(self._engine) as connection:
            return aggregates.service_counts(connection, from_ns, to_ns)

    def aggregate(self, wanted: EventFilter, how: Aggregation, limit: int) -> list[Group]:
        """Return up to `limit` groups of events: intervals in order, the highest value first."""
        with reading(self._engine) as connection:
            return aggregates.aggregate(connection, wanted, how, limit)

    def observed_addresses(self, verdict: Outcome, from_ns: int) -> frozenset[str]:
        """Return the other ends' addresses in events of `verdict` observed since `from_ns`, DNS answers included."""
        with reading(self._engine) as connection:
            return events.observed_addresses(connection, verdict, from_ns)

    def observed_names(self, verdict: Outcome, from_ns: int, limit: int = 500) -> frozenset[str]:
        """Return the other ends' names in events of `verdict` observed since `from_ns`, the `limit` seen last."""
        with reading(self._engine) as connection:
            return events.observed_names(connection, verdict, from_ns, limit)

    def agent_names(self, from_ns: int, limit: int = 5_000) -> list[NameSighting]:
        """Return up to `limit` names that agents dialled since, not sanctioned ones; the one seen last first."""
        with reading(self._engine) as connection:
            return sightings.agent_names(connection, from_ns, limit)

    def finding(self, finding_id: str) -> Finding | None:
        """Return one finding, None when there is none."""
        with reading(self._engine) as connection:
            return findings.finding(connection, finding_id)

    def findings(self, wanted: FindingFilter, limit: int, after: FindingCursor | None = None) -> list[Finding]:
        """Return up to `limit` findings, the one seen last first; one seen again meanwhile moves to the first page."""
        with reading(self._engine) as connection:
            return findings.findings_page(connection, wanted, limit, after)

    def events_of_findings(self, wanted: Sequence[Finding], from_ns: int, limit: int) -> list[list[Event]]:
        """Return up to `limit` of the newest events of each finding, as far as its source's 50 newest hold them."""
        with reading(self._engine) as connection:
            return [events.events_of_finding(connection, finding, from_ns, limit) for finding in wanted]

    def count_open_findings(self, limit: int) -> dict[str, int]:
        """Return how many open findings there are by how their tunnel did, of the `limit` seen last."""
        with reading(self._engine) as connection:
            return findings.count_open(connection, limit)

    def busiest_sources(self, since_ns: int, limit: int) -> dict[str, dict[str, int]]:
        """Return the `limit` sources with most open findings seen since, each with how many by how their tunnel did."""
        with reading(self._engine) as connection:
            return findings.busiest_sources(connection, since_ns, limit)

    def change_finding(self, finding_id: str, wanted: FindingChange, actor: str, at_ns: int) -> Finding | None:
        """Do to a finding what `actor` wants, note it in its history, and return it; None when there is none.

        Raises:
            ValueError: `excepted`, which only an exception brings about.
            HistoryFull: it has as many comments as there is room for.
        """
        if wanted.state is FindingState.EXCEPTED:
            raise ValueError("a finding becomes excepted through an exception")
        with writing(self._engine) as connection:
            return findings.change(connection, finding_id, wanted, actor, at_ns)

    def finding_history(self, finding_id: str, after: str | None, limit: int) -> list[HistoryEntry]:
        """Return up to `limit` entries of a finding's history, the newest first, below the entry `after`."""
        with reading(self._engine) as connection:
            return history.page(connection, finding_id, after, limit)

    def exceptions_in_use(self) -> dict[str, str]:
        """Return the ids of findings that an exception holds for, with that exception's id."""
        with reading(self._engine) as connection:
            return findings.exceptions_in_use(connection)

    def unexcepted_findings(
        self, services: Collection[str], categories: Collection[str], after: str, limit: int
    ) -> list[tuple[str, Event]]:
        """Return up to `limit` findings that no exception holds for, by id above `after`.

        They are of these services, or the event seen last is of one of these categories. Each comes with that event,
        which says who it is; without it a finding is left out.
        """
        with reading(self._engine) as connection:
            found = findings.unexcepted(connection, services, categories, after, limit)
            pairs = ((finding_id, events.event(connection, event_id)) for finding_id, event_id in found)
            return [(finding_id, event) for finding_id, event in pairs if event is not None]

    def set_finding_exceptions(self, wanted: Mapping[str, str | None], at_ns: int) -> int:
        """Let the exceptions hold that are named for each finding, None for none; return how many states changed."""
        with writing(self._engine) as connection:
            return findings.set_exceptions(connection, wanted, at_ns)

    def save_heartbeat(self, status: SensorStatus) -> None:
        """Keep a sensor's heartbeat unless a later one is there."""
        with writing(self._engine) as connection:
            sensors.save_heartbeat(connection, status)

    def sensors(self) -> list[SensorStatus]:
        """Return every sensor's newest heartbeat, by sensor id."""
        with reading(self._engine) as connection:
            return sensors.sensors(connection)

    def publish_snapshot(self, wanted: SnapshotRow) -> SnapshotRow:
        """Return the list's latest snapshot when it has this digest, else a new one with the next serial.

        The serial is that of `wanted` at least: one that was published before the database was lost is not used again.
        """
        with writing(self._engine) as connection:
            return snapshots.publish(connection, wanted)

    def snapshots(self, list_name: str, profile: str = DEFAULT_PROFILE) -> list[SnapshotRow]:
        """Return the list's snapshots that are kept, newest first, without their bodies."""
        with reading(self._engine) as connection:
            return snapshots.snapshots(connection, list_name, profile)

    def snapshot(self, list_name: str, serial: int, profile: str = DEFAULT_PROFILE) -> SnapshotRow | None:
        """Return one snapshot, None when it is not kept (any more)."""
        with reading(self._engine) as connection:
            return snapshots.snapshot(connection, list_name, profile, serial)

    def latest_snapshot(self, list_name: str, profile: str = DEFAULT_PROFILE) -> SnapshotRow | None:
        """Return the list's newest snapshot, None before the first."""
        with reading(self._engine) as connection:
            return snapshots.latest_snapshot(connection, list_name, profile)

    def save_pulls(self, records: Sequence[PullRecord], now_ns: int) -> None:
        """Keep what consumers pulled last; who has not pulled for 90 days is forgotten."""
        with writing(self._engine) as connection:
            pulls.save(connection, records, now_ns)

    def pulls(self, limit: int) -> list[PullRecord]:
        """Return up to `limit` records of what consumers pulled, those of the newest pulls."""
        with reading(self._engine) as connection:
            return pulls.pulls(connection, limit)

    def save_resolution(self, *answers: Resolution) -> None:
        """Keep good answers unless later ones are there; a failure only marks the last good answer as not `ok`."""
        with writing(self._engine) as connection:
            resolutions.save_resolutions(connection, answers)

    def resolutions(self) -> list[Resolution]:
        """Return what is known of every name, by name."""
        with reading(self._engine) as connection:
            return resolutions.resolutions(connection)
