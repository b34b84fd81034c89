"""The documents of outputs and of programs that call back."""

from datetime import datetime

from pydantic import ConfigDict, Field

from api.schemas.document import TIME, Document
from api.schemas.events import EVENT_ID
from api.schemas.workflow import ID
from db.workflow.output_values import OutputKind
from rules.values.verdict import Outcome, Severity


class FilterDocument(Document):
    """Which events an output takes; empty lists take all."""

    verdicts: list[Outcome]
    min_severity: Severity
    services: list[str] = Field(examples=[["ngrok"]])


class OutputDocument(Document):
    """Where events go to by themselves, and how that goes."""

    output_id: str = Field(examples=[ID])
    name: str = Field(examples=["soar"])
    kind: OutputKind
    target: dict[str, object] = Field(examples=[{"url": "https://soar.example.com/hooks/molecatcher"}])
    wanted: FilterDocument
    created_by: str = Field(examples=["alice"])
    created_at: datetime = Field(examples=[TIME])
    place: int = Field(description="Up to where it came in the order of commits", examples=[4711])
    lag: int = Field(description="Commits behind the newest, wanted or not", examples=[0])
    delivered: int = Field(examples=[42])
    failures: int = Field(description="Deliveries that failed, each try", examples=[0])
    dead: int = Field(description="Events that became dead letters since the beginning", examples=[0])
    last_success: datetime | None = Field(examples=[TIME])
    failing_since: datetime | None = Field(description="When the present failures began", examples=[None])
    last_error: str = Field(examples=[""])
    is_paused: bool = Field(description="Nothing is sent until it is resumed")


class WithSecret(Document):
    """What was made; `secret` is shown this once, null where there is none to show."""

    model_config = ConfigDict(extra="allow")

    secret: str | None = Field(examples=["whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="])


class OutputList(Document):
    """Every output."""

    items: list[OutputDocument]


class SecretDocument(Document):
    """A new secret, shown once."""

    secret: str = Field(examples=["whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="])


class DeadLetterDocument(Document):
    """An event that could not be delivered."""

    letter_id: str = Field(examples=[ID])
    output_id: str = Field(examples=[ID])
    event_id: str = Field(examples=[EVENT_ID])
    at: datetime = Field(examples=[TIME])
    error: str = Field(examples=["soar.example.com answered 500 Internal Server Error"])


class DeadLetterPage(Document):
    """Dead letters, the oldest first."""

    items: list[DeadLetterDocument]
    next: str | None = Field(examples=[None])


class ReplayDocument(Document):
    """How many dead letters were taken."""

    taken: int = Field(examples=[12])


class SourceDocument(Document):
    """A program that may change findings by signed webhooks."""

    source_id: str = Field(examples=[ID])
    name: str = Field(examples=["soar"])
    created_by: str = Field(examples=["alice"])
    created_at: datetime = Field(examples=[TIME])


class SourceList(Document):
    """Every such program."""

    items: list[SourceDocument]
