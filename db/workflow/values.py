"""What people do, as it goes into and comes out of the store; times are nanoseconds since the epoch."""

from datetime import date
from enum import StrEnum

import msgspec

from rules.policy.profiles import ProfileTable
from rules.policy.tables import BlockedTable, ExceptionTable, SanctionTable
from rules.values.verdict import Decision


class ExceptionStatus(StrEnum):
    """Where an exception or a sanctioned ingress stands; only an active one has an effect, until it expires."""

    REQUESTED = "requested"
    ACTIVE = "active"
    REJECTED = "rejected"
    REVOKED = "revoked"


class StoredSanction(msgspec.Struct, frozen=True, kw_only=True):
    """A sanctioned ingress that was made over the API; `status` is requested or active, else it is removed."""

    sanction_id: str
    domain: str
    service: str
    owner: str
    reason: str
    expires: date | None = None
    addresses: tuple[str, ...] = ()
    status: ExceptionStatus
    requested_by: str
    requested_at_ns: int
    decided_by: str | None = None
    decided_at_ns: int | None = None

    def to_table(self) -> SanctionTable:
        """Return what the policy reads."""
        fields = {name: getattr(self, name) for name in SanctionTable.__struct_fields__}
        return msgspec.convert(fields, SanctionTable)


class StoredProfile(msgspec.Struct, frozen=True, kw_only=True):
    """A profile of the lists that was made over the API."""

    chosen: ProfileTable
    owner: str
    reason: str
    changed_by: str
    changed_at_ns: int


class StoredException(msgspec.Struct, frozen=True, kw_only=True):
    """An exception that was made over the API, with who asked for it, who decided on it and who ended it.

    `expires` is the last day (UTC) that it holds.
    """

    exception_id: str
    service: str
    sources: tuple[str, ...] = ()
    users: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    macs: tuple[str, ...] = ()
    executables: tuple[str, ...] = ()
    containers: tuple[str, ...] = ()
    owner: str
    reason: str
    expires: date | None = None
    status: ExceptionStatus
    requested_by: str
    requested_at_ns: int
    decided_by: str | None = None
    decided_at_ns: int | None = None
    ended_by: str | None = None
    ended_at_ns: int | None = None

    def to_table(self) -> ExceptionTable:
        """Return what the policy reads."""
        return msgspec.convert({name: getattr(self, name) for name in TABLE_FIELDS}, ExceptionTable)


TABLE_FIELDS = ExceptionTable.__struct_fields__


class StoredDecision(msgspec.Struct, frozen=True, kw_only=True):
    """What was decided over the API about a service or a category."""

    service: str
    decision: Decision
    owner: str
    reason: str
    changed_by: str
    changed_at_ns: int


class StoredBlocked(msgspec.Struct, frozen=True, kw_only=True):
    """An entry of our own that was made over the API: listed, or kept off every list (`is_never`)."""

    entry_id: str
    entry: str
    is_never: bool = False
    owner: str
    reason: str
    expires: date | None = None
    created_by: str
    created_at_ns: int

    def to_table(self) -> BlockedTable:
        """Return what the policy reads."""
        return BlockedTable(entry=self.entry, owner=self.owner, reason=self.reason, expires=self.expires)


class SearchedResource(StrEnum):
    """What a search is of."""

    EVENTS = "events"
    FINDINGS = "findings"


class SavedSearch(msgspec.Struct, frozen=True, kw_only=True):
    """A filter with a name: its owner's alone, or everybody's to read."""

    search_id: str
    owner: str
    name: str
    resource: SearchedResource
    query: dict[str, str]
    is_shared: bool = False
    changed_at_ns: int


class Answered(msgspec.Struct, frozen=True):
    """The answer to an earlier request; `status` 0: it is being worked on."""

    fingerprint: bytes
    at_ns: int
    status: int
    headers: dict[str, str]
    body: bytes
