"""Outputs as they go into and come out of the store; times are nanoseconds since the epoch."""

from enum import StrEnum

import msgspec

from rules.values.event import Event
from rules.values.verdict import Outcome, Severity

_RANKS = {severity: rank for rank, severity in enumerate(Severity)}


class OutputKind(StrEnum):
    """How an output speaks."""

    WEBHOOK = "webhook"
    SYSLOG = "syslog"
    HEC = "hec"
    APPRISE = "apprise"


class OutputFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which events an output takes; no verdicts or no services means all of them."""

    verdicts: tuple[Outcome, ...] = (Outcome.UNSANCTIONED, Outcome.SUSPICIOUS)
    min_severity: Severity = next(iter(Severity))
    services: tuple[str, ...] = ()

    def takes(self, event: Event) -> bool:
        """Tell whether the output takes `event`."""
        return (
            (not self.verdicts or event.verdict in self.verdicts)
            and _RANKS[event.severity] >= _RANKS[self.min_severity]
            and (not self.services or event.service in self.services)
        )


class Output(msgspec.Struct, frozen=True, kw_only=True):
    """An output: what it is, what it wants, and where it stands in the order of commits (`place`).

    `target` says where to and how, `secrets` are sealed. Everything up to `place` was delivered, is not wanted, or lies
    among the dead letters (`dead` of them since the beginning). `failing_since_ns` is when the newest failures began.
    While `is_paused` nothing is sent and nothing is lost: it goes on from its place.
    """

    output_id: str
    name: str
    kind: OutputKind
    target: dict[str, object]
    wanted: OutputFilter
    secrets: bytes
    created_by: str
    created_at_ns: int
    place: int
    delivered: int = 0
    failures: int = 0
    dead: int = 0
    last_success_ns: int | None = None
    failing_since_ns: int | None = None
    last_error: str = ""
    is_paused: bool = False


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """An event that an output could not deliver in a day of trying."""

    letter_id: str
    output_id: str
    event_id: str
    at_ns: int
    error: str


class WebhookSource(msgspec.Struct, frozen=True, kw_only=True):
    """A program that may change findings by signed webhooks; `secrets` are sealed."""

    source_id: str
    name: str
    secrets: bytes
    created_by: str
    created_at_ns: int
