"""What a finding becomes when events are reported: pure values, no SQL.

A finding is a function of the final revisions of its events and of what a person decided, so the order in which events,
revisions and repetitions arrive cannot change it. `Tally.add` keeps that up by differences as long as a revision only
adds to the one before (`Contribution.covers`); when one takes something back (another role, a lower confidence), the
finding is built again from its events, a large one from its parts (`db.findings.parts`).
"""

import uuid
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

import msgspec

from db.values import Finding, FindingState
from rules.values.observation import FlowState, Kind, Refusal
from rules.values.verdict import Outcome, Severity

_NAMESPACE = uuid.UUID("0192f0c1-6d0e-7c55-9a54-9d6d5f1c2ab7")
_SEVERITIES = {name: rank for rank, name in enumerate(Severity)}
_STATES = {FlowState.ATTEMPTED: 0, FlowState.BLOCKED: 1, FlowState.LIVE: 2}
_VERDICTS = {Outcome.SUSPICIOUS: 1, Outcome.UNSANCTIONED: 2}


class FindingKey(NamedTuple):
    """What makes two events one finding; an absent service is ""."""

    src_ip: str
    service: str
    role: str

    @property
    def finding_id(self) -> str:
        """The key as a UUIDv5, the same in every store."""
        return _uuid5("\n".join(self))


@lru_cache(maxsize=4096)  # 4 us, and most are asked for twice
def _uuid5(name: str) -> str:
    return str(uuid.uuid5(_NAMESPACE, name))


class Contribution(msgspec.Struct, frozen=True, gc=False):
    """What one revision of an event adds to a finding; the names are those of the events table."""

    event_id: str
    revision: int
    kind: Kind
    verdict: Outcome
    state: FlowState
    refusal: Refusal | None
    service: str | None
    role: str
    severity: Severity
    confidence: int
    sensor_id: str
    src_ip: str
    dst_name: str | None
    exception_id: str | None
    count: int
    bytes_out: int
    bytes_in: int
    first_seen_ns: int
    last_seen_ns: int
    sensor_loss: int
    observed_at_ns: int
    facet_id: int

    @property
    def key(self) -> FindingKey | None:
        """The finding that the event belongs to, None when its verdict makes none."""
        return FindingKey(self.src_ip, self.service or "", self.role) if self.verdict in _VERDICTS else None

    @property
    def state_at(self) -> tuple[int, int]:
        """When it says its state, and what that weighs beside another of that time; a look-up alone says none."""
        says_none = self.kind == Kind.DNS and self.state == FlowState.ATTEMPTED
        return 0 if says_none else self.last_seen_ns, _STATES[FlowState(self.state)]

    def covers(self, earlier: "Contribution") -> bool:
        """Tell whether this revision takes nothing back of what `earlier`, of the same event, added."""
        return (
            self.key == earlier.key
            and self.observed_at_ns == earlier.observed_at_ns
            and _VERDICTS[self.verdict] >= _VERDICTS[earlier.verdict]
            and _SEVERITIES[self.severity] >= _SEVERITIES[earlier.severity]
            and self.confidence >= earlier.confidence
            and self.first_seen_ns <= earlier.first_seen_ns
            and self.last_seen_ns >= earlier.last_seen_ns
            and self.sensor_loss >= earlier.sensor_loss
            and self.state_at >= earlier.state_at
        )


Change = tuple[Contribution | None, Contribution]  # the revision before, if any, and this one


class Tally(msgspec.Struct, kw_only=True):
    """A finding being counted, or a part of one; the names are the columns of the findings table, `state` aside."""

    finding_id: str
    src_ip: str
    service: str
    role: str
    verdict: Outcome
    severity: Severity
    confidence: int
    tunnel_state: FlowState
    tunnel_state_at_ns: int
    first_seen_ns: int
    last_seen_ns: int
    events: int = 0
    sightings: int = 0
    bytes_out: int = 0
    bytes_in: int = 0
    dst_name: str | None
    event_id: str
    sensor_id: str
    sensor_loss: int
    exception_id: str | None
    decision: FindingState | None = None
    decided_at_ns: int | None = None
    assignee: str | None = None
    divided: int = 0

    @classmethod
    def of(cls, key: FindingKey, found: Iterable[Contribution]) -> "Tally | None":
        """Return what these events of a finding add up to, None without any."""
        tally = None
        for each in found:
            tally = tally or cls.begin(key, each)
            tally.add(each, None)
        return tally

    @classmethod
    def begin(cls, key: FindingKey, first: Contribution) -> "Tally":
        """Return the tally of a finding that `first` opens, without having added it yet."""
        return cls(
            finding_id=key.finding_id,
            src_ip=key.src_ip,
            service=key.service,
            role=key.role,
            verdict=first.verdict,
            severity=first.severity,
            confidence=first.confidence,
            tunnel_state=FlowState.ATTEMPTED,
            tunnel_state_at_ns=0,
            first_seen_ns=first.first_seen_ns,
            last_seen_ns=first.last_seen_ns,
            dst_name=first.dst_name,
            event_id=first.event_id,
            sensor_id=first.sensor_id,
            sensor_loss=first.sensor_loss,
            exception_id=first.exception_id,
        )

    def add(self, new: Contribution, earlier: Contribution | None) -> None:
        """Add an event, or the difference to the `earlier` revision of it that was added before."""
        self.events += earlier is None
        self.sightings += new.count - (earlier.count if earlier else 0)
        self.bytes_out += new.bytes_out - (earlier.bytes_out if earlier else 0)
        self.bytes_in += new.bytes_in - (earlier.bytes_in if earlier else 0)
        self._raise_to(new, new.state_at, FlowState(new.state))

    def merge(self, part: "Tally") -> None:
        """Add what another part of the same finding adds up to; of which events must not overlap."""
        self.events += part.events
        self.sightings += part.sightings
        self.bytes_out += part.bytes_out
        self.bytes_in += part.bytes_in
        self._raise_to(part, (part.tunnel_state_at_ns, _STATES[part.tunnel_state]), part.tunnel_state)

    def _raise_to(self, new: "Contribution | Tally", state_at: tuple[int, int], state: FlowState) -> None:
        """Take over what is more, earlier or later in `new`."""
        self.verdict = max(self.verdict, new.verdict, key=_VERDICTS.__getitem__)
        self.severity = max(self.severity, new.severity, key=_SEVERITIES.__getitem__)
        self.confidence = max(self.confidence, new.confidence)
        self.sensor_loss = max(self.sensor_loss, new.sensor_loss)
        if state_at >= (self.tunnel_state_at_ns, _STATES[self.tunnel_state]):
            self.tunnel_state_at_ns = state_at[0]
            self.tunnel_state = state
        self.first_seen_ns = min(self.first_seen_ns, new.first_seen_ns)
        if (new.last_seen_ns, new.event_id) >= (self.last_seen_ns, self.event_id):
            self.last_seen_ns = new.last_seen_ns
            self.event_id = new.event_id
            self.dst_name = new.dst_name
            self.sensor_id = new.sensor_id
            self.exception_id = new.exception_id

    def keep_decisions(self, earlier: "Tally") -> None:
        """Take over what people decided on the finding when it was counted before."""
        self.decision, self.decided_at_ns, self.assignee = earlier.decision, earlier.decided_at_ns, earlier.assignee

    def decide(self, state: FindingState, at_ns: int) -> None:
        """Note what a person decided; a sensor's clock ahead of ours does not undo it."""
        self.decision = None if state is FindingState.OPEN else state
        self.decided_at_ns = max(at_ns, self.last_seen_ns)

    @property
    def state(self) -> FindingState:
        """What follows from it all: a finding resolved and seen later is open again, an exception outranks the rest."""
        is_seen_since = self.decided_at_ns is None or self.last_seen_ns > self.decided_at_ns
        if self.decision is FindingState.RESOLVED and not is_seen_since:
            return FindingState.RESOLVED
        if self.exception_id is not None:
            return FindingState.EXCEPTED
        return FindingState.ACKNOWLEDGED if self.decision is FindingState.ACKNOWLEDGED else FindingState.OPEN

    def to_row(self) -> dict[str, object]:
        """Return the columns of the findings table."""
        row: dict[str, object] = msgspec.to_builtins(self)
        row["state"] = self.state.value
        return row

    def to_finding(self) -> Finding:
        """Return the finding as it is served."""
        row = self.to_row()
        row["service"] = self.service or None
        row["tunnel_state_at_ns"] = self.tunnel_state_at_ns or None
        return msgspec.convert(row, Finding)
