"""What the rules say of an observation."""

from enum import StrEnum

import msgspec

from rules.values.observation import Evidence


class Outcome(StrEnum):
    """The verdict itself. `unknown` is counted and not stored."""

    SANCTIONED = "sanctioned"
    UNSANCTIONED = "unsanctioned"
    SUSPICIOUS = "suspicious"
    UNKNOWN = "unknown"


class Role(StrEnum):
    """What the source does with the tunnel."""

    AGENT = "agent"
    VISITOR = "visitor"
    UNCLEAR = "unclear"
    AUXILIARY = "auxiliary"


class Severity(StrEnum):
    """How much an analyst should care."""

    INFORMATIONAL = "informational"
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


class Decision(StrEnum):
    """What the organisation decided about a service."""

    BLOCK = "block"
    MONITOR = "monitor"
    IGNORE = "ignore"


class Rule(StrEnum):
    """Which rule decided, in the order of docs/detection.md. The values stay as they are: others filter by them."""

    SANCTIONED_NAME = "sanctioned_name"
    SANCTIONED_NAME_ELSEWHERE = "sanctioned_name_elsewhere"
    LISTED_NAME = "listed_name"
    ALIAS = "alias_of_listed_name"
    TOLD_ADDRESS = "address_of_listed_name"
    SANCTIONED_ADDRESS = "address_of_sanctioned_name"
    DELEGATED_ZONE = "delegated_zone"
    SIGNS = "signs_of_an_agent"
    PROTOCOL = "protocol"
    PINNED_ADDRESS = "pinned_address"


class Reason(msgspec.Struct, frozen=True, gc=False):
    """One piece of evidence: where it was read, what it was, and what that means in a sentence."""

    evidence: Evidence
    indicator: str
    detail: str


class Verdict(msgspec.Struct, frozen=True, gc=False):
    """The answer of `classification.classify`; `confidence` is 0 to 100, `rule` is missing from `unknown` only."""

    outcome: Outcome
    rule: Rule | None = None
    service: str | None = None
    category: str | None = None
    role: Role = Role.UNCLEAR
    severity: Severity = Severity.INFORMATIONAL
    confidence: int = 0
    reasons: tuple[Reason, ...] = ()
    dst_name: str | None = None
    exception_id: str | None = None

    @property
    def is_stored(self) -> bool:
        """Tell whether the verdict becomes an event."""
        return self.outcome is not Outcome.UNKNOWN


UNKNOWN = Verdict(Outcome.UNKNOWN)
