"""The tables of what people do: what they said of findings, what they allowed, decided and saved."""

from sqlalchemy import CheckConstraint, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from db.schema.models import Base


class FindingEntryRow(Base):
    """One `db.values.HistoryEntry`."""

    __tablename__ = "finding_entries"
    __table_args__ = (Index(None, "finding_id", "entry_id"),)

    entry_id: Mapped[str] = mapped_column(primary_key=True)
    finding_id: Mapped[str]
    at_ns: Mapped[int]
    actor: Mapped[str]
    kind: Mapped[str]
    before: Mapped[str | None]
    after: Mapped[str | None]
    text: Mapped[str]


class SanctionRow(Base):
    """One `db.workflow.values.StoredSanction`."""

    __tablename__ = "sanctioned_ingresses"
    __table_args__ = (CheckConstraint("status IN ('requested', 'active')", name="status"), UniqueConstraint("domain"))

    sanction_id: Mapped[str] = mapped_column(primary_key=True)
    domain: Mapped[str]
    service: Mapped[str]
    owner: Mapped[str]
    reason: Mapped[str]
    expires: Mapped[str | None]
    addresses: Mapped[list[str]]
    status: Mapped[str]
    requested_by: Mapped[str]
    requested_at_ns: Mapped[int]
    decided_by: Mapped[str | None]
    decided_at_ns: Mapped[int | None]


class ProfileRow(Base):
    """One `db.workflow.values.StoredProfile`; `chosen` is what the policy reads."""

    __tablename__ = "list_profiles"

    name: Mapped[str] = mapped_column(primary_key=True)
    chosen: Mapped[dict[str, object]]
    owner: Mapped[str]
    reason: Mapped[str]
    changed_by: Mapped[str]
    changed_at_ns: Mapped[int]


class ExceptionRow(Base):
    """One `db.workflow.values.StoredException`."""

    __tablename__ = "exceptions"
    __table_args__ = (
        CheckConstraint("status IN ('requested', 'active', 'rejected', 'revoked')", name="status"),
        Index(None, "status", "exception_id"),
    )

    exception_id: Mapped[str] = mapped_column(primary_key=True)
    service: Mapped[str]
    sources: Mapped[list[str]]
    users: Mapped[list[str]]
    hosts: Mapped[list[str]]
    macs: Mapped[list[str]]
    executables: Mapped[list[str]]
    containers: Mapped[list[str]]
    owner: Mapped[str]
    reason: Mapped[str]
    expires: Mapped[str | None]
    status: Mapped[str]
    requested_by: Mapped[str]
    requested_at_ns: Mapped[int]
    decided_by: Mapped[str | None]
    decided_at_ns: Mapped[int | None]
    ended_by: Mapped[str | None]
    ended_at_ns: Mapped[int | None]


class DecisionRow(Base):
    """One `db.workflow.values.StoredDecision`."""

    __tablename__ = "service_decisions"

    service: Mapped[str] = mapped_column(primary_key=True)
    decision: Mapped[str]
    owner: Mapped[str]
    reason: Mapped[str]
    changed_by: Mapped[str]
    changed_at_ns: Mapped[int]


class BlockedRow(Base):
    """One `db.workflow.values.StoredBlocked`."""

    __tablename__ = "blocked_entries"

    entry_id: Mapped[str] = mapped_column(primary_key=True)
    entry: Mapped[str]
    is_never: Mapped[bool]
    owner: Mapped[str]
    reason: Mapped[str]
    expires: Mapped[str | None]
    created_by: Mapped[str]
    created_at_ns: Mapped[int]


class SearchRow(Base):
    """One `db.workflow.values.SavedSearch`."""

    __tablename__ = "saved_searches"
    __table_args__ = (Index(None, "owner", "search_id"),)

    search_id: Mapped[str] = mapped_column(primary_key=True)
    owner: Mapped[str]
    name: Mapped[str]
    resource: Mapped[str]
    query: Mapped[dict[str, str]]
    is_shared: Mapped[bool]
    changed_at_ns: Mapped[int]


class AnsweredRow(Base):
    """One request that carried an `Idempotency-Key`: `status` 0 until it is answered."""

    __tablename__ = "answered_requests"
    __table_args__ = (Index(None, "at_ns"),)

    caller: Mapped[str] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    fingerprint: Mapped[bytes]
    at_ns: Mapped[int]
    status: Mapped[int]
    headers: Mapped[dict[str, str]]
    body: Mapped[bytes]
