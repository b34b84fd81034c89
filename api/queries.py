"""Query parameters: their bounds, and the filter of the store that they stand for.

Every parameter is bounded, and one that is not known is refused: a filter that was mistyped and silently ignored
would show an analyst the wrong events.
"""

import ipaddress
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator

from api.cursors import MAX_CURSOR_LENGTH
from api.times import parse_rfc3339
from db.values import EventFilter, FindingFilter, FindingState
from rules.names import MAX_NAME_OCTETS, fold
from rules.observation import FlowState
from rules.verdict import Outcome, Role, Severity

MAX_LIMIT = 500
DEFAULT_LIMIT = 100
MAX_TEXT = 128


def _address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text.strip("[]")))
    except ValueError:
        raise ValueError("give an IPv4 or IPv6 address such as 10.20.0.7") from None


def _address_or_name(text: str) -> str:
    try:
        return _address(text)
    except ValueError:
        return fold(text)


Time = Annotated[
    int,
    BeforeValidator(parse_rfc3339, json_schema_input_type=str),
    WithJsonSchema({"type": "string", "format": "date-time", "examples": ["2026-11-23T18:00:00Z"]}),
]
Address = Annotated[str, Field(max_length=64, examples=["10.20.0.7"]), AfterValidator(_address)]
Destination = Annotated[
    str,
    Field(min_length=1, max_length=MAX_NAME_OCTETS + 1, examples=["connect.ngrok-agent.com"]),
    AfterValidator(_address_or_name),
]
ServiceId = Annotated[str, Field(max_length=64, pattern=r"^[a-z0-9_.-]*$", examples=["ngrok"])]
Text = Annotated[str, Field(min_length=1, max_length=MAX_TEXT)]


class WindowQuery(BaseModel):
    """A time window: `from` is included, `to` is not."""

    model_config = ConfigDict(extra="forbid")

    from_ns: Time | None = Field(None, alias="from", description="RFC 3339; included")
    to_ns: Time | None = Field(None, alias="to", description="RFC 3339; not included")

    @model_validator(mode="after")
    def _is_ordered(self) -> Self:
        if self.from_ns is not None and self.to_ns is not None and self.from_ns >= self.to_ns:
            raise ValueError("`from` must be before `to`")
        return self


class PageQuery(WindowQuery):
    """What the lists of events and of findings have in common."""

    src: Address | None = Field(None, description="The source's address")
    service: ServiceId | None = Field(None, description="A service id; empty for what names no service")
    verdict: Outcome | None = None
    role: Role | None = None
    severity: Severity | None = None
    sensor: Text | None = Field(None, description="A sensor id")
    q: Text | None = Field(None, description="Part of a destination name, a service or a source, in any case")
    limit: Annotated[int, Field(ge=1, le=MAX_LIMIT)] = DEFAULT_LIMIT
    cursor: Annotated[str, Field(max_length=MAX_CURSOR_LENGTH, pattern=r"^[A-Za-z0-9_.-]*$")] | None = Field(
        None, description="`next` of the page before; every other filter must stay as it was"
    )


class EventQuery(PageQuery):
    """The parameters of `/v1/events`."""

    dst: Destination | None = Field(None, description="The destination's address or exact name")
    state: FlowState | None = Field(None, description="Whether the tunnel got through")

    def to_filter(self) -> EventFilter:
        """Return the filter as it was asked, without the default window."""
        fields = self.model_dump(exclude={"limit", "cursor"})
        return EventFilter(**fields)


class FindingQuery(PageQuery):
    """The parameters of `/v1/findings`."""

    state: FindingState | None = Field(None, description="What became of the finding")
    tunnel_state: FlowState | None = Field(None, description="Whether the tunnel got through when last seen")

    def to_filter(self) -> FindingFilter:
        """Return the filter as it was asked."""
        fields = self.model_dump(exclude={"limit", "cursor"})
        return FindingFilter(**fields)


class FeedQuery(BaseModel):
    """The parameters of a feed."""

    model_config = ConfigDict(extra="forbid")

    comments: Annotated[int, Field(ge=0, le=1, description="0 leaves the explaining lines out")] = 1
    empty: Annotated[str, Field(pattern="^comment$")] | None = Field(
        None, description="`comment`: an empty list is answered with its comment lines instead of 404"
    )

    @model_validator(mode="after")
    def _is_never_blank(self) -> Self:
        if self.empty and not self.comments:
            raise ValueError("`empty=comment` needs comments: firewalls must never be handed a blank file")
        return self
