"""The documents of what people do: histories, exceptions, decisions, own entries, searches."""

import builtins
from datetime import date, datetime

from pydantic import Field

from api.schemas.document import TIME, Document
from db.values import EntryKind, FindingState
from db.workflow.values import ExceptionStatus, SearchedResource
from rules.lists.blocklist import ListName
from rules.lists.guards import Guard
from rules.policy.policy import PolicyOrigin
from rules.values.verdict import Decision, Outcome, Role, Severity

ID = "019ab1f0-8c00-7000-8000-0000000000e1"


class HistoryDocument(Document):
    """One thing that happened to a finding; `actor` is empty where the program did it."""

    entry_id: str = Field(examples=[ID])
    finding_id: str = Field(examples=["8f0a4f6e-8a60-5a37-9f0e-2f3d1f1f7a55"])
    at: datetime = Field(examples=[TIME])
    actor: str = Field(examples=["alice"])
    kind: EntryKind
    before: str | None = Field(examples=["open"])
    after: str | None = Field(examples=["acknowledged"])
    text: str = Field(description="A comment, or the exception that changed the state", examples=[""])


class HistoryPage(Document):
    """What happened to a finding, newest first."""

    items: list[HistoryDocument]
    next: str | None = Field(examples=[None])


class BulkItem(Document):
    """What became of one finding of many: its state, or why nothing did."""

    finding_id: str = Field(examples=["8f0a4f6e-8a60-5a37-9f0e-2f3d1f1f7a55"])
    state: str | None = Field(examples=["resolved"])
    problem: str | None = Field(examples=[None])


class BulkDocument(Document):
    """What became of each finding, in the order asked."""

    items: list[BulkItem]


class IngressDocument(Document):
    """A sanctioned ingress. Those of the file have no id and no history here."""

    sanction_id: str | None = Field(examples=[ID])
    origin: PolicyOrigin
    status: ExceptionStatus
    is_in_force: bool = Field(description="Active, not expired, and not said otherwise by the file")
    domain: str = Field(examples=["tunnels.example.com"])
    service: str = Field(examples=["ngrok"])
    addresses: list[str] = Field(examples=[["203.0.113.0/24"]])
    owner: str = Field(examples=["platform@example.com"])
    reason: str = Field(examples=["team tenant"])
    expires: date | None = Field(examples=["2027-12-31"])
    requested_by: str | None = Field(examples=["alice"])
    requested_at: datetime | None = Field(examples=[TIME])
    decided_by: str | None = Field(examples=["bob"])
    decided_at: datetime | None = Field(examples=[TIME])


class IngressList(Document):
    """Every sanctioned ingress."""

    items: list[IngressDocument]


class ExceptionDocument(Document):
    """Who may use a service for a while. Those of the file have no history here."""

    exception_id: str = Field(examples=[ID])
    origin: PolicyOrigin
    status: ExceptionStatus
    is_in_force: bool = Field(description="Active, not expired, and not said otherwise by the file")
    service: str = Field(examples=["devtunnels"])
    sources: list[str] = Field(examples=[["10.20.0.0/16"]])
    users: list[str] = Field(examples=[[]])
    hosts: list[str] = Field(examples=[[]])
    macs: list[str] = Field(examples=[[]])
    executables: list[str] = Field(examples=[[]])
    containers: list[str] = Field(examples=[[]])
    owner: str = Field(examples=["it@example.com"])
    reason: str = Field(examples=["Codespaces pilot"])
    expires: date | None = Field(examples=["2027-03-31"])
    requested_by: str | None = Field(examples=["alice"])
    requested_at: datetime | None = Field(examples=[TIME])
    decided_by: str | None = Field(examples=["bob"])
    decided_at: datetime | None = Field(examples=[TIME])
    ended_by: str | None = Field(examples=[None])
    ended_at: datetime | None = Field(examples=[None])


class ExceptionPage(Document):
    """Exceptions: those of the file with the first page, then those made over the API, newest first."""

    items: list[ExceptionDocument]
    next: str | None = Field(examples=[None])


class DecisionDocument(Document):
    """What is decided of a service or a category, and where that stands; `origin` null: nobody decided."""

    id: str = Field(examples=["devtunnels"])
    name: str = Field(examples=["Dev Tunnels"])
    category: str | None = Field(examples=["reverse-tunnel"])
    decision: Decision | None
    origin: PolicyOrigin | None
    owner: str | None = Field(examples=["it@example.com"])
    reason: str | None = Field(examples=["used by two teams until March"])
    changed_by: str | None = Field(examples=["alice"])
    changed_at: datetime | None = Field(examples=[TIME])


class BlockedDocument(Document):
    """An entry of the block lists beyond the catalogue. Those of the file have no id."""

    entry_id: str | None = Field(examples=[ID])
    origin: PolicyOrigin
    is_in_force: bool = Field(description="Not expired, and not in the way of anything sanctioned")
    entry: str = Field(examples=["tunnel.colleague.example"])
    owner: str = Field(examples=["soc@example.com"])
    reason: str = Field(examples=["a private ingress, ticket 4711"])
    expires: date | None = Field(examples=["2026-12-31"])
    created_by: str | None = Field(examples=["alice"])
    created_at: datetime | None = Field(examples=[TIME])


class BlockedList(Document):
    """Every entry of our own."""

    items: list[BlockedDocument]


class RefusalDocument(Document):
    """Why a guard would keep the list that is in force."""

    guard: Guard
    detail: str = Field(examples=["42 of 60 entries would go at once"])


class ListEffectDocument(Document):
    """What would come onto a list of a profile and leave it; of each, up to 50 entries are shown."""

    list: ListName
    profile: str = Field(examples=["agents-only"])
    entries: int = Field(description="How many it would have", examples=[310])
    added: int = Field(examples=[0])
    removed: int = Field(examples=[1])
    added_examples: builtins.list[str] = Field(examples=[[]])
    removed_examples: builtins.list[str] = Field(examples=[["*.tunnel.colleague.example"]])
    refusals: builtins.list[RefusalDocument] = Field(description="Nothing would be published until these are gone")
    note: str = Field(description="What else would hold it back", examples=[""])


class ProfilePreviewDocument(Document):
    """What the lists of a profile would hold, beside its present ones or else the default profile's."""

    lists: list[ListEffectDocument]


class FindingEffectDocument(Document):
    """What would be said of a finding, or of a source that is sanctioned now (`finding_id` null), if it went on."""

    finding_id: str | None = Field(examples=["8f0a4f6e-8a60-5a37-9f0e-2f3d1f1f7a55"])
    src_ip: str = Field(examples=["10.20.0.7"])
    service: str | None = Field(examples=["ngrok"])
    role: Role
    dst_name: str | None = Field(examples=["tunnels.partner.example"])
    verdict_before: Outcome
    verdict_after: Outcome = Field(description="`unknown`: it would not be reported any more")
    severity_before: Severity
    severity_after: Severity
    state_before: FindingState | None
    state_after: FindingState | None


class FindingEffectsDocument(Document):
    """Which findings would change, from the newest events of the newest ones."""

    days: int = Field(description="How far back was looked", examples=[30])
    looked_at: int = Field(description="Findings, and sources that are sanctioned now", examples=[12])
    is_complete: bool = Field(description="False: there are more than were looked at")
    changed: int = Field(examples=[1])
    items: list[FindingEffectDocument] = Field(description="Up to 100 of those that would change")


class PreviewDocument(Document):
    """What a change would do. Nothing of it was kept."""

    needs_approval: bool = Field(description="It would wait for another person")
    cautions: list[str] = Field(description="What may not be meant", examples=[[]])
    lists: list[ListEffectDocument] = Field(description="Lists of which something would change, or is held back")
    findings: FindingEffectsDocument | None = Field(description="null: the caller may not read findings")


class SearchDocument(Document):
    """A filter with a name."""

    search_id: str = Field(examples=[ID])
    owner: str = Field(examples=["alice"])
    name: str = Field(examples=["live ngrok agents"])
    resource: SearchedResource
    query: dict[str, str] = Field(examples=[{"service": "ngrok", "tunnel_state": "live"}])
    is_shared: bool = Field(examples=[False])
    changed_at: datetime = Field(examples=[TIME])


class SearchList(Document):
    """The caller's searches and those that others share, by name."""

    items: list[SearchDocument]
