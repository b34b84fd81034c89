"""Events and findings as they go into and come out of the store, beside `rules.values.event`; times are nanoseconds."""

from enum import StrEnum
from typing import Self

import msgspec

from rules.values.event import Event
from rules.values.observation import Action, Evidence, FlowState
from rules.values.verdict import Outcome, Role, Severity


class FindingState(StrEnum):
    """What became of a finding. Nobody sets `excepted`: it holds while the newest event carries an exception."""

    OPEN = "open"
    ACKNOWLEDGED = "acknowledged"
    RESOLVED = "resolved"
    EXCEPTED = "excepted"


class EventFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which events are asked for; None asks for all.

    `from_ns` is included, `to_ns` is not; both speak of `observed_at_ns`. `dst` is an address or an exact name.
    `service` "" asks for events without a service. `q` is a part of the destination's name, the service or (where
    `q_finds_sources`) the source, in any case.
    """

    from_ns: int | None = None
    to_ns: int | None = None
    src: str | None = None
    dst: str | None = None
    service: str | None = None
    verdict: Outcome | None = None
    role: Role | None = None
    severity: Severity | None = None
    state: FlowState | None = None
    action: Action | None = None
    sensor: str | None = None
    q: str | None = None
    q_finds_sources: bool = True


ALL_EVENTS = EventFilter()


class Dimension(StrEnum):
    """What events can be counted by."""

    SERVICE = "service"
    VERDICT = "verdict"
    ROLE = "role"
    SEVERITY = "severity"
    STATE = "state"
    SRC = "src"
    DST = "dst"
    SENSOR = "sensor"


class Metric(StrEnum):
    """What is counted: events, sightings (their `count`), octets both ways, or distinct sources."""

    EVENTS = "events"
    SIGHTINGS = "sightings"
    BYTES = "bytes"
    SOURCES = "sources"


class Aggregation(msgspec.Struct, frozen=True, kw_only=True):
    """How events are counted: by which dimensions, and by intervals of `interval_ns` aligned with the epoch."""

    by: tuple[Dimension, ...] = ()
    metric: Metric = Metric.EVENTS
    interval_ns: int | None = None


class Group(msgspec.Struct, frozen=True):
    """One group of an aggregation: its values in the order of `by`, and its interval if there are any."""

    start_ns: int | None
    values: tuple[str | None, ...]
    value: int


class EventCursor(msgspec.Struct, frozen=True):
    """The last event of a page; the next page begins below it."""

    observed_at_ns: int
    event_id: str

    @classmethod
    def of(cls, event: Event) -> Self:
        """Return the cursor that continues after `event`."""
        return cls(event.observed_at_ns, event.event_id)


class FindingFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which findings are asked for, as in `EventFilter`; `from_ns` and `to_ns` speak of `last_seen_ns`.

    `assignee` "" asks for findings that are nobody's.
    """

    from_ns: int | None = None
    to_ns: int | None = None
    src: str | None = None
    service: str | None = None
    verdict: Outcome | None = None
    role: Role | None = None
    severity: Severity | None = None
    state: FindingState | None = None
    tunnel_state: FlowState | None = None
    assignee: str | None = None
    sensor: str | None = None
    q: str | None = None
    q_finds_sources: bool = True


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What one source does with one service in one role, over all its events.

    `finding_id` follows from source, service and role, so it never changes. `severity` and `confidence` are the highest
    of its events and `verdict` the surer one (`unsanctioned` before `suspicious`); `dst_name`, `event_id`, `sensor_id`
    and `exception_id` are those of the event seen last. `tunnel_state` is that of the connection seen last, or of a
    look-up that was blocked later, and `tunnel_state_at_ns` when; None: a name was looked up, no more. `events` counts
    events; `sightings`, `bytes_out` and `bytes_in` sum their counts. `sensor_loss` is the highest of its events, which
    overlap: so many packets at least were lost while it was seen. `decided_at_ns` is when a person last set the state,
    `assignee` who is to look into it.
    """

    finding_id: str
    src_ip: str
    service: str | None
    role: Role
    verdict: Outcome
    severity: Severity
    confidence: int
    state: FindingState
    tunnel_state: FlowState
    tunnel_state_at_ns: int | None
    first_seen_ns: int
    last_seen_ns: int
    events: int
    sightings: int
    bytes_out: int
    bytes_in: int
    dst_name: str | None
    event_id: str
    sensor_id: str
    sensor_loss: int
    exception_id: str | None
    decided_at_ns: int | None
    assignee: str | None = None


class FindingCursor(msgspec.Struct, frozen=True):
    """The last finding of a page; the next page begins below it."""

    last_seen_ns: int
    finding_id: str

    @classmethod
    def of(cls, finding: Finding) -> Self:
        """Return the cursor that continues after `finding`."""
        return cls(finding.last_seen_ns, finding.finding_id)


class Rejected(msgspec.Struct, frozen=True):
    """An event that the database cannot hold: its place in the batch, its id and why."""

    index: int
    event_id: str
    problem: str


class AppendResult(msgspec.Struct, frozen=True):
    """What became of a batch: events new, raised to a higher revision, already known, and refused."""

    stored: int = 0
    updated: int = 0
    ignored: int = 0
    rejected: tuple[Rejected, ...] = ()


class IngestedEvent(msgspec.Struct, frozen=True):
    """An event with its place in the order in which events and their revisions were committed."""

    ingest_seq: int
    event: Event


class ServiceCount(msgspec.Struct, frozen=True):
    """One service's events in a time window; `sources` counts distinct addresses.

    A source still counts whose only event of the service was given to another one by a later revision.
    """

    service: str | None
    events: int
    sightings: int
    sources: int
    last_seen_ns: int


class EvidenceUsage(msgspec.Struct, frozen=True):
    """Octets of evidence in the store, and of how many events it was deleted to make room since the beginning."""

    octets: int
    evicted: int


class NameSighting(msgspec.Struct, frozen=True):
    """A name that agents of `service` dialled: when last, which of the sure signs told, and what became of it.

    `is_acknowledged`: an analyst acknowledged a finding that it belongs to.
    """

    name: str
    service: str
    last_seen_ns: int
    is_acknowledged: bool
    evidence: frozenset[Evidence]


class EntryKind(StrEnum):
    """What happened to a finding."""

    STATE = "state"
    ASSIGNEE = "assignee"
    COMMENT = "comment"


class HistoryEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that happened to a finding. `actor` "" is the program: seen again, excepted, the exception's end.

    `before` and `after` are states or assignees; `text` is a comment, or why.
    """

    entry_id: str
    finding_id: str
    at_ns: int
    actor: str
    kind: EntryKind
    before: str | None = None
    after: str | None = None
    text: str = ""


class FindingChange(msgspec.Struct, frozen=True, kw_only=True):
    """What a person does to a finding at once; what is unset stays. An `assignee` None is nobody."""

    state: FindingState | msgspec.UnsetType = msgspec.UNSET
    assignee: str | msgspec.UnsetType | None = msgspec.UNSET
    comment: str = ""
