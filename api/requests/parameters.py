"""Query parameters: their bounds, and the filter of the store that they stand for.

Every parameter is bounded, and one that is not known is refused: a filter that was mistyped and silently ignored
would show an analyst the wrong events.
"""

import ipaddress
from typing import Annotated, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from api.exports import ExportFormat
from api.requests.cursors import MAX_CURSOR_LENGTH
from api.times import DAY_NS, HOUR_NS, NS_PER_S, parse_rfc3339
from db.values import Aggregation, Dimension, EventFilter, FindingFilter, FindingState, Metric
from rules.matching.names import MAX_NAME_OCTETS, fold
from rules.matching.urls import MAX_URL_OCTETS
from rules.policy.profiles import DEFAULT_PROFILE
from rules.values.observation import STATES, Action, FlowState
from rules.values.verdict import Outcome, Role, Severity

MAX_LIMIT = 500
DEFAULT_LIMIT = 100
MAX_TEXT = 128
MAX_GROUPS = 10_000
_INTERVALS_NS = {"m": 60 * NS_PER_S, "h": HOUR_NS, "d": DAY_NS}
_FIELDS = set(EventFilter.__struct_fields__) - {"q_finds_sources"}


def _address_or_network(text: str) -> str:
    try:
        if "/" in text:
            network = ipaddress.ip_network(text, strict=False)
            return str(network if network.num_addresses > 1 else network.network_address)
        return str(ipaddress.ip_address(text.strip("[]")))
    except ValueError:
        detail = "give an IPv4 or IPv6 address such as 10.20.0.7, or a network such as 10.20.0.0/16"
        raise ValueError(detail) from None


def _address_network_or_name(text: str) -> str:
    try:
        return _address_or_network(text)
    except ValueError:
        if "/" in text:  # no name holds one
            raise
        return fold(text)


def _time(text: object) -> int:
    if not isinstance(text, str):  # what a body may hold
        raise ValueError("give a time as text, such as 2026-11-23T18:00:00Z")  # noqa: TRY004 - a value that was sent
    return parse_rfc3339(text)


Time = Annotated[
    int,
    BeforeValidator(_time, json_schema_input_type=str),
    WithJsonSchema({"type": "string", "format": "date-time", "examples": ["2026-11-23T18:00:00Z"]}),
]
Address = Annotated[str, Field(max_length=64, examples=["10.20.0.7"]), AfterValidator(_address_or_network)]
Destination = Annotated[
    str,
    Field(min_length=1, max_length=MAX_NAME_OCTETS + 1, examples=["connect.ngrok-agent.com"]),
    AfterValidator(_address_network_or_name),
]
ServiceId = Annotated[str, Field(max_length=64, pattern=r"^[a-z0-9_.-]*$", examples=["ngrok"])]
Serial = Annotated[int, Field(ge=1, le=2**53)]
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


class FilterQuery(WindowQuery):
    """What the filters of events and of findings have in common."""

    src: Address | None = Field(None, description="The source's address, or a network of sources")
    service: ServiceId | None = Field(None, description="A service id; empty for what names no service")
    verdict: Outcome | None = None
    role: Role | None = None
    severity: Severity | None = None
    sensor: Text | None = Field(None, description="A sensor id")
    q: Text | None = Field(None, description="Part of a destination name, a service or a source, in any case")
    names: bool = Field(True, description="False: sources and people under stable pseudonyms")


class Paging(BaseModel):
    """How a list is paged."""

    limit: Annotated[int, Field(ge=1, le=MAX_LIMIT)] = DEFAULT_LIMIT
    cursor: Annotated[str, Field(max_length=MAX_CURSOR_LENGTH, pattern=r"^[A-Za-z0-9_.-]*$")] | None = Field(
        None, description="`next` of the page before; every other filter must stay as it was"
    )


class EventFilterQuery(FilterQuery):
    """Which events are asked for."""

    dst: Destination | None = Field(None, description="The destination's address or exact name, or a network")
    state: FlowState | None = Field(None, description="Whether the tunnel got through")
    action: Action | None = Field(
        None, description="The same in the words of other products' events; `rejected`: blocked, somebody said no"
    )

    @model_validator(mode="after")
    def _has_one_state(self) -> Self:
        if self.action is not None and self.state not in {None, STATES[self.action]}:
            raise ValueError("`action` and `state` ask for different events: give one of them")
        return self

    def to_filter(self) -> EventFilter:
        """Return the filter as it was asked, without the default window."""
        return EventFilter(**self.model_dump(include=_FIELDS))


class EventQuery(EventFilterQuery, Paging):
    """The parameters of `/v1/events`."""


class ExportQuery(EventFilterQuery):
    """The parameters of `/v1/events/export`."""

    format: ExportFormat = Field(ExportFormat.NATIVE, description="How each event is written")


class AggregateQuery(EventFilterQuery):
    """The parameters of `/v1/events/aggregate`."""

    by: Annotated[str, Field(max_length=MAX_TEXT, pattern=r"^[a-z,]*$", examples=["service,verdict"])] = ""
    metric: Metric = Metric.EVENTS
    interval: Annotated[str, Field(pattern=r"^[1-9][0-9]{0,4}[mhd]$", examples=["1h"])] | None = Field(
        None, description="Minutes, hours or days, aligned with UTC"
    )
    limit: Annotated[int, Field(ge=1, le=MAX_GROUPS, description="Groups at most")] = DEFAULT_LIMIT

    @field_validator("by")
    @classmethod
    def _is_known(cls, by: str) -> str:
        unknown = [name for name in filter(None, by.split(",")) if name not in set(Dimension)]
        if unknown:
            raise ValueError(f"{unknown[0]!r} cannot be counted by: take some of {', '.join(Dimension)}")
        return by

    def to_aggregation(self) -> Aggregation:
        """Return what is to be counted."""
        by = tuple(dict.fromkeys(Dimension(name) for name in filter(None, self.by.split(","))))
        interval_ns = int(self.interval[:-1]) * _INTERVALS_NS[self.interval[-1]] if self.interval else None
        return Aggregation(by=by, metric=self.metric, interval_ns=interval_ns)


class FindingQuery(FilterQuery, Paging):
    """The parameters of `/v1/findings`."""

    state: FindingState | None = Field(None, description="What became of the finding")
    tunnel_state: FlowState | None = Field(None, description="Whether the tunnel got through when last seen")
    assignee: Annotated[str, Field(max_length=MAX_TEXT)] | None = Field(
        None, description="Who is to look into it; empty for nobody"
    )

    def to_filter(self) -> FindingFilter:
        """Return the filter as it was asked."""
        return FindingFilter(**self.model_dump(exclude={"limit", "cursor", "names"}))


ProfileName = Annotated[str, Field(min_length=1, max_length=32, examples=["agents-only"])]


class ProfileQuery(BaseModel):
    """The parameter of a list's routes that say what is in force."""

    model_config = ConfigDict(extra="forbid")

    profile: ProfileName = DEFAULT_PROFILE


class FeedQuery(BaseModel):
    """The parameters of a feed."""

    model_config = ConfigDict(extra="forbid")

    profile: ProfileName | None = Field(None, description="Which services and roles; else the token's, or agents-only")
    comments: Annotated[int, Field(ge=0, le=1, description="0 leaves the explaining lines out")] = 1
    empty: Annotated[str, Field(pattern="^(comment|sentinel)$")] | None = Field(
        None,
        description="What an empty list is instead of 404. `comment`: its comment lines; `sentinel`: one entry that "
        "blocks nothing, `empty.invalid` or 192.0.2.1",
    )

    @model_validator(mode="after")
    def _is_never_blank(self) -> Self:
        if self.empty == "comment" and not self.comments:
            raise ValueError("`empty=comment` needs comments: firewalls must never be handed a blank file")
        return self


class ConsumerQuery(BaseModel):
    """Which consumers of lists are asked for."""

    model_config = ConfigDict(extra="forbid")

    profile: ProfileName | None = None
    behind: bool | None = Field(None, description="Those that have an older state, or those that do not")
    offset: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    limit: Annotated[int, Field(ge=1, le=MAX_LIMIT)] = DEFAULT_LIMIT


class EntryQuery(ProfileQuery):
    """The parameters of a list's entries."""

    serial: Serial | None = Field(None, description="An earlier snapshot; else the one in force")
    q: Text | None = Field(None, description="Part of the entry, in any case")
    service: ServiceId | None = None
    after: Annotated[str, Field(max_length=MAX_URL_OCTETS + 8)] | None = Field(
        None, description="`next` of the page before"
    )
    limit: Annotated[int, Field(ge=1, le=MAX_LIMIT)] = DEFAULT_LIMIT


class DiffQuery(ProfileQuery):
    """The parameters of a difference."""

    from_serial: Serial = Field(alias="from", description="The earlier snapshot")
    to_serial: Serial | None = Field(None, alias="to", description="The later one; else the one in force")


class ConfirmBody(BaseModel):
    """Which held state is right."""

    model_config = ConfigDict(extra="forbid")

    digest: Annotated[
        str, Field(pattern="^[0-9a-f]{64}$", description="`held.digest` of the list", examples=["0" * 64])
    ]
