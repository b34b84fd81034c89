"""What people send to change something: bodies and parameters with their bounds."""

from datetime import date
from typing import Annotated, Literal, Self

import msgspec
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator

from api.requests.parameters import DEFAULT_LIMIT, MAX_LIMIT, EventFilterQuery, FindingQuery, ServiceId
from db.values import FindingChange, FindingState
from db.workflow.values import ExceptionStatus, SearchedResource
from rules.catalogue.service import Trust
from rules.policy.profiles import MOST_GROWTH, MOST_SHRINK, FindingUse, ProfileTable
from rules.policy.tables import BlockedTable, ExceptionTable, SanctionTable
from rules.preview.draft import PolicyDraft
from rules.values.verdict import Decision

MAX_IDS = 500
MAX_COMMENT = 4000
MAX_ENTRIES = 100
MAX_DRAFTED = 20
EXCEPTED = "a finding becomes excepted through an exception: POST /v1/exceptions"

LINE = r"^[^\x00-\x1f\x7f]+$"
LINES = r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]+$"

Word = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=256, pattern=LINE)]
Comment = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_COMMENT, pattern=LINES)]
Person = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=128, pattern=LINE)]
Texts = Annotated[list[Word], Field(max_length=MAX_ENTRIES)]
Id = Annotated[str, Field(min_length=1, max_length=64, pattern="^[A-Za-z0-9-]+$")]


class Body(BaseModel):
    """Base of what is sent: a member that is not known is refused."""

    model_config = ConfigDict(extra="forbid")


class StateBody(Body):
    """What became of a finding."""

    state: FindingState = Field(examples=["acknowledged"])

    @field_validator("state")
    @classmethod
    def _is_decided_by_people(cls, state: FindingState) -> FindingState:
        if state is FindingState.EXCEPTED:
            raise ValueError(EXCEPTED)
        return state


class AssigneeBody(Body):
    """Who is to look into a finding."""

    assignee: Person | None = Field(description="null: nobody", examples=["alice"])


class CommentBody(Body):
    """What is to be remembered of a finding."""

    comment: Comment = Field(examples=["asked the owner of the laptop"])


class ChangeBody(Body):
    """What is done to a finding; what is left out stays as it is."""

    state: FindingState | None = Field(None, examples=["resolved"])
    assignee: Person | None = Field(None, description="null takes it from whoever has it", examples=["alice"])
    comment: Comment | None = Field(None, examples=["same laptop, reimaged"])

    @field_validator("state")
    @classmethod
    def _is_decided_by_people(cls, state: FindingState | None) -> FindingState | None:
        if state is FindingState.EXCEPTED:
            raise ValueError(EXCEPTED)
        return state

    def to_change(self) -> FindingChange:
        """Return what is done."""
        return FindingChange(
            state=self.state or msgspec.UNSET,
            assignee=self.assignee if "assignee" in self.model_fields_set else msgspec.UNSET,
            comment=self.comment or "",
        )


class BulkBody(ChangeBody):
    """What is done to many findings at once."""

    ids: Annotated[list[Id], Field(min_length=1, max_length=MAX_IDS)] = Field(
        examples=[["8f0a4f6e-8a60-5a37-9f0e-2f3d1f1f7a55"]]
    )

    @model_validator(mode="after")
    def _does_something(self) -> Self:
        if self.state is None and self.comment is None and "assignee" not in self.model_fields_set:
            raise ValueError("give `state`, `assignee` or `comment`")
        return self


class ExceptionBody(Body):
    """Who may use a service for a while: all that is named must hold, as in the policy file."""

    service: Annotated[str, Field(min_length=1, max_length=64, description="A service or a category")] = Field(
        examples=["devtunnels"]
    )
    sources: Texts = Field([], description="Addresses or networks", examples=[["10.20.0.0/16"]])
    users: Texts = Field([], examples=[[]])
    hosts: Texts = Field([], examples=[[]])
    macs: Texts = Field([], examples=[[]])
    executables: Texts = Field([], examples=[[]])
    containers: Texts = Field([], examples=[[]])
    owner: Word = Field(examples=["it@example.com"])
    reason: Comment = Field(examples=["Codespaces pilot"])
    expires: date | None = Field(None, description="The last day (UTC) that it holds", examples=["2027-03-31"])

    def to_table(self) -> ExceptionTable:
        """Return what the policy reads."""
        return msgspec.convert(self.model_dump(), ExceptionTable)


class SanctionBody(Body):
    """An ingress that may be used: this domain and every name below it."""

    domain: Word = Field(examples=["tunnels.example.com"])
    service: Annotated[str, Field(min_length=1, max_length=64)] = Field(examples=["ngrok"])
    addresses: Texts = Field(
        [], description="Pin: the name at any other address is suspicious", examples=[["203.0.113.0/24"]]
    )
    owner: Word = Field(examples=["platform@example.com"])
    reason: Comment = Field(examples=["team tenant"])
    expires: date | None = Field(None, description="The last day (UTC) that it holds", examples=["2027-12-31"])

    def to_table(self) -> SanctionTable:
        """Return what the policy reads."""
        return msgspec.convert(self.model_dump(), SanctionTable)


class ProfileBody(Body):
    """What the lists of a profile hold, for firewalls that take something else than the others."""

    services: Texts = Field(
        [], description="Services and categories; none: those decided `block`", examples=[["ngrok"]]
    )
    roles: Annotated[list[Literal["agent", "visitor", "auxiliary"]], Field(min_length=1, max_length=3)] = Field(
        ["agent"], description="Whose names"
    )
    minimum_confidence: Trust = Field(Trust.MEDIUM, description="Of services that nobody decided about")
    findings: FindingUse = Field(FindingUse.OFF, description="Which names of findings are listed besides")
    networks: Texts = Field(
        [], description="Behind its firewalls: an exception for all of them is heeded", examples=[["10.20.0.0/16"]]
    )
    max_entries: Annotated[int, Field(ge=1, le=10_000_000, strict=True)] | None = Field(
        None, description="A longer list is not published", examples=[50_000]
    )
    max_shrink: Annotated[float, Field(gt=0, le=1)] = Field(MOST_SHRINK, description="Share that may go at once")
    max_growth: Annotated[float, Field(gt=0, le=1000)] = Field(MOST_GROWTH, description="Times it may grow at once")
    owner: Word = Field(examples=["netops@example.com"])
    reason: Comment = Field(examples=["small firewalls of the branch offices"])

    def to_table(self, name: str) -> ProfileTable:
        """Return what the policy reads."""
        fields = self.model_dump(exclude={"owner", "reason"}) | {"name": name}
        return msgspec.convert(fields, ProfileTable)


class ExceptionQuery(BaseModel):
    """The parameters of the list of exceptions."""

    model_config = ConfigDict(extra="forbid")

    status: ExceptionStatus | None = None
    service: ServiceId | None = None
    after: Id | None = Field(None, description="`next` of the page before")
    limit: Annotated[int, Field(ge=1, le=MAX_LIMIT)] = DEFAULT_LIMIT


class HistoryQuery(BaseModel):
    """The parameters of a finding's history."""

    model_config = ConfigDict(extra="forbid")

    after: Id | None = Field(None, description="`next` of the page before")
    limit: Annotated[int, Field(ge=1, le=MAX_LIMIT)] = DEFAULT_LIMIT
    names: bool = True


class DecisionBody(Body):
    """What is decided of a service or a category, by whom and why."""

    decision: Decision = Field(examples=["monitor"])
    owner: Word = Field(examples=["it@example.com"])
    reason: Comment = Field(examples=["used by two teams until March"])


class BlockedBody(Body):
    """What to put on the block lists beyond the catalogue, or to keep off all of them."""

    entry: Word = Field(
        description="A name with those below it, `=name` for that alone, an address or a network",
        examples=["tunnel.colleague.example"],
    )
    owner: Word = Field(examples=["soc@example.com"])
    reason: Comment = Field(examples=["a private ingress, ticket 4711"])
    expires: date | None = Field(None, description="The last day (UTC) that it holds", examples=["2026-12-31"])

    def to_table(self) -> BlockedTable:
        """Return what the policy reads."""
        return msgspec.convert(self.model_dump(), BlockedTable)


class DraftBody(Body):
    """A change of the policy to be looked at before it is made: what would be added, decided and removed."""

    sanctioned: Annotated[list[SanctionBody], Field(max_length=MAX_DRAFTED)] = []
    exceptions: Annotated[list[ExceptionBody], Field(max_length=MAX_DRAFTED)] = []
    blocked: Annotated[list[BlockedBody], Field(max_length=MAX_DRAFTED)] = []
    never_blocked: Annotated[list[BlockedBody], Field(max_length=MAX_DRAFTED)] = []
    decisions: Annotated[dict[ServiceId, Decision | None], Field(max_length=MAX_DRAFTED)] = Field(
        {}, description="By service or category; null takes a decision back", examples=[{"devtunnels": "monitor"}]
    )
    removed: Annotated[list[Id], Field(max_length=MAX_IDS)] = Field(
        [], description="Ids of what was made over the API", examples=[[]]
    )

    def to_draft(self) -> PolicyDraft:
        """Return the change as the rules know it."""
        return PolicyDraft(
            sanctions=tuple(row.to_table() for row in self.sanctioned),
            exceptions=tuple(row.to_table() for row in self.exceptions),
            blocked=tuple(row.to_table() for row in self.blocked),
            never_blocked=tuple(row.to_table() for row in self.never_blocked),
            decisions=dict(self.decisions),
            removed=frozenset(self.removed),
        )


class SearchBody(Body):
    """A filter with a name."""

    name: Person = Field(examples=["live ngrok agents"])
    resource: SearchedResource = Field(examples=["findings"])
    query: Annotated[dict[str, Annotated[str, Field(max_length=256)]], Field(max_length=20)] = Field(
        description="Parameters of that list, as text, without `cursor`",
        examples=[{"service": "ngrok", "tunnel_state": "live"}],
    )
    is_shared: bool = Field(False, strict=True, description="True: others may read it too", examples=[False])

    @model_validator(mode="after")
    def _is_a_query(self) -> Self:
        model = EventFilterQuery if self.resource is SearchedResource.EVENTS else FindingQuery
        if "cursor" in self.query:
            raise ValueError("query: leave `cursor` out")
        model.model_validate(self.query)
        return self
