"""The documents about who may ask and who did: tokens, sessions, the audit log, and what sensors are answered."""

import builtins
from datetime import datetime

from pydantic import Field

from api.schemas.document import TIME, Document
from db.access.values import AccessRole, ActorKind, AuditOutcome, TokenScope
from rules.lists.blocklist import ListName


class MeDocument(Document):
    """Who the server takes the caller for."""

    kind: ActorKind
    id: str = Field(examples=["3f9a0c5be1d2"])
    name: str = Field(examples=["paloalto-berlin-1"])
    role: AccessRole | None
    scopes: list[TokenScope]
    may: list[str] = Field(examples=[["GET /v1/events"]])
    authenticated_at: datetime | None
    expires_at: datetime | None
    csrf_token: str | None


class TokenDocument(Document):
    """A token of a machine, without its secret."""

    id: str = Field(examples=["3f9a0c5be1d2"])
    name: str = Field(examples=["paloalto-berlin-1"])
    scopes: list[TokenScope]
    list: ListName | None
    profile: str | None
    sensor: str | None
    allow: builtins.list[str]
    deny: builtins.list[str]
    secrets: int = Field(description="How many secrets are good", examples=[1])
    created_at: datetime = Field(examples=[TIME])
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used: datetime | None


class NewTokenDocument(TokenDocument):
    """A token with its secret, which is shown once."""

    token: str | None = Field(examples=["mc_3f9a0c5be1d2_SECRET"])


class EnrolledDocument(Document):
    """A sensor's own token, which is shown once."""

    sensor_id: str = Field(examples=["019ab1f0-8c00-7000-8000-00000000002a"])
    token: str = Field(examples=["mc_3f9a0c5be1d2_SECRET"])


class TokenList(Document):
    """Every token."""

    items: list[TokenDocument]


class AuditDocument(Document):
    """One entry of the audit log; `before` and `after` are SHA-256 of what stood there."""

    seq: int = Field(examples=[1])
    at: datetime = Field(examples=[TIME])
    actor_kind: ActorKind
    actor_id: str
    actor_name: str
    address: str = Field(examples=["192.0.2.7"])
    action: str = Field(examples=["token.create"])
    target: str
    outcome: AuditOutcome
    before: str
    after: str
    detail: str
    request_id: str
    chain: str


class AuditPage(Document):
    """A page of the audit log, newest first."""

    items: list[AuditDocument]
    next: str | None = Field(description="Cursor of the next page; null at the end")


class SessionDocument(Document):
    """A person's session, without its cookie."""

    session_id: str = Field(examples=["9f2c11d07ae4b6c8"])
    issuer: str = Field(examples=["https://id.example.com"])
    subject: str
    name: str = Field(examples=["alice@example.com"])
    role: AccessRole
    amr: list[str] = Field(examples=[["pwd", "mfa"]])
    acr: str
    address: str = Field(examples=["192.0.2.7"])
    authenticated_at: datetime = Field(examples=[TIME])
    created_at: datetime = Field(examples=[TIME])
    used_at: datetime = Field(examples=[TIME])
    expires_at: datetime = Field(examples=[TIME])
    revoked_at: datetime | None


class SessionList(Document):
    """Sessions that are not over."""

    items: list[SessionDocument]


class RejectedDocument(Document):
    """An event of a batch that was not kept: its place, its id if it has one, and why."""

    index: int = Field(examples=[3])
    event_id: str | None
    problem: str = Field(examples=["this token writes as another sensor"])


class BatchDocument(Document):
    """What became of a batch: events new, raised to a higher revision, known already, and not kept."""

    accepted: int = Field(examples=[499])
    updated: int = Field(examples=[0])
    duplicate: int = Field(examples=[0])
    rejected: list[RejectedDocument]
