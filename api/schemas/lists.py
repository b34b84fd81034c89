"""The documents of the block lists' routes, for OpenAPI and the tests."""

from datetime import datetime
from typing import Literal

from pydantic import Field

from api.schemas.document import TIME, Document
from rules.catalogue.service import Trust
from rules.lists.blocklist import EntryKind, ListName, Origin, Scope
from rules.lists.guards import Guard
from rules.policy.profiles import FindingUse
from rules.values.verdict import Role


class RefusalDocument(Document):
    """Why a list is held."""

    guard: Guard
    detail: str = Field(examples=["60 of 114 entries would go at once"])


class HeldDocument(Document):
    """A newer state of a list that was not published."""

    digest: str
    entries: int = Field(examples=[54])
    refusals: list[RefusalDocument]
    is_confirmable: bool = Field(description="POST its digest to /v1/lists/{list}/confirm to publish it")


class SparedDocument(Document):
    """An address of a listed name that is not listed, and why."""

    address: str = Field(examples=["203.0.113.9"])
    name: str = Field(examples=["connect.tunnel.example"])
    service: str = Field(examples=["ngrok"])
    reason: str = Field(examples=["a sanctioned name resolves to it, or was seen at it"])


class ProfileDocument(Document):
    """A profile: what its lists hold."""

    name: str = Field(examples=["agents-only"])
    services: list[str] = Field(description="Services and categories; none: those decided `block`")
    roles: list[Role]
    minimum_confidence: Trust
    findings: FindingUse
    networks: list[str]
    max_entries: int | None
    max_shrink: float = Field(description="The share of a list that may go at once", examples=[0.5])
    max_growth: float = Field(description="How many times as long a list may grow at once", examples=[2.0])
    is_in_use: bool = Field(description="Pulled in the last week, or a token is made for it: only those are built")


class KnownProfileDocument(ProfileDocument):
    """A profile with where it comes from; who answers for it is null where it is not from the database."""

    origin: Literal["built-in", "file", "database"]
    owner: str | None = Field(examples=["netops@example.com"])
    reason: str | None = Field(examples=["small firewalls of the branch offices"])
    changed_by: str | None = Field(examples=["alice"])
    changed_at: datetime | None = Field(examples=[TIME])


class ProfileList(Document):
    """Every profile."""

    items: list[KnownProfileDocument]


class ListDocument(Document):
    """A block list; `serial` is null before it is built."""

    list_name: ListName
    profile: str = Field(examples=["agents-only"])
    serial: int | None = Field(examples=[7])
    created_at: datetime | None = Field(examples=[TIME])
    digest: str | None
    entries: int = Field(examples=[114])
    feeds: list[str] = Field(examples=[["/feeds/unsanctioned-domains.txt"]])
    withheld: dict[str, str] = Field(description="Services that are left out whole, and why", examples=[{}])
    spared: list[SparedDocument] = Field(description="Addresses of listed names that are not listed")
    held: HeldDocument | None


class ListList(Document):
    """Every list in every profile that is in use, and the profiles that there are."""

    items: list[ListDocument]
    profiles: list[ProfileDocument]


class EntryDocument(Document):
    """An entry: `*.name` is the name and everything below it; `allow` exempts below a blocked name."""

    entry: str = Field(examples=["*.ngrok-agent.com"])
    kind: EntryKind
    action: Literal["block", "allow"]
    scope: Scope
    service: str = Field(examples=["ngrok"])
    role: Role
    source: Origin
    reason: str = Field(examples=[""])
    first_listed: datetime | None = Field(examples=[TIME])
    expires: datetime | None = Field(examples=[None])


class EntryPage(Document):
    """Entries in order."""

    items: list[EntryDocument]
    next: str | None = Field(examples=[None])


class SnapshotDocument(Document):
    """One state of a list."""

    serial: int = Field(examples=[7])
    created_at: datetime = Field(examples=[TIME])
    digest: str


class SnapshotList(Document):
    """States of a list, newest first."""

    items: list[SnapshotDocument]


class DiffDocument(Document):
    """What changed between two states of a list."""

    added: list[str] = Field(examples=[["*.new.example"]])
    removed: list[str] = Field(examples=[[]])
    is_truncated: bool


class ConsumerDocument(Document):
    """What a consumer pulled last of one list; `consumer` is the name of its token."""

    consumer: str | None = Field(examples=["paloalto-berlin-1"])
    token_id: str | None
    address: str = Field(examples=["10.1.0.1"])
    user_agent: str = Field(examples=["unbound/1.17.1"])
    list_name: ListName
    profile: str = Field(examples=["agents-only"])
    format: str = Field(examples=["pan-os.txt"])
    serial: int | None = Field(examples=[7], description="What it was handed last")
    serial_in_force: int | None = Field(examples=[7])
    is_behind: bool = Field(description="It has an older state, for longer than `behind_minutes`")
    last_status: int = Field(examples=[304])
    first_pull: datetime
    last_pull: datetime
    last_change: datetime | None
    pulls: int
    failures: int


class ConsumerPage(Document):
    """Consumers, the one that pulled last first; `next` is the `offset` of the next page."""

    items: list[ConsumerDocument]
    total: int
    behind: int
    next: int | None
