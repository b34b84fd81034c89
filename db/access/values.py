"""Who may ask and who did: roles, sessions, accounts, and the entries of the audit log; times are nanoseconds."""

from enum import StrEnum

import msgspec


class AccessRole(StrEnum):
    """What a person may do; each role may do what those before it may."""

    VIEWER = "viewer"
    ANALYST = "analyst"
    POLICY_EDITOR = "policy-editor"
    ADMIN = "admin"


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """A person who signed in. `digest` is SHA-256 of what the cookie holds.

    `subject` is who that is for `issuer` ("break-glass": an account of our own). `authenticated_at_ns` is when the
    person last proved it, `amr` and `acr` are how. A session is over at `expires_at_ns`, or when it was not used for
    long, or when it was revoked. `provider_sid` is what the provider calls its own session, `provider_groups` are the
    groups that it named; `role` is what they gave at the sign-in.
    """

    digest: bytes
    session_id: str
    issuer: str
    subject: str
    name: str
    role: AccessRole
    amr: tuple[str, ...] = ()
    acr: str = ""
    address: str = ""
    authenticated_at_ns: int
    created_at_ns: int
    used_at_ns: int
    expires_at_ns: int
    revoked_at_ns: int | None = None
    provider_sid: str = ""
    provider_groups: tuple[str, ...] = ()


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """The account for the first use and for emergencies. `password_hash` is argon2's text form."""

    name: str
    password_hash: str
    is_for_loopback_only: bool = True
    created_at_ns: int
    used_at_ns: int | None = None


class ActorKind(StrEnum):
    """Who can do something: nobody known, somebody on this host, a person, a machine, the program itself."""

    NOBODY = "nobody"
    LOCAL = "local"
    PERSON = "person"
    TOKEN = "token"  # noqa: S105 - the name of a kind
    SYSTEM = "system"


class AuditOutcome(StrEnum):
    """How it ended."""

    DONE = "done"
    REFUSED = "refused"
    FAILED = "failed"


class AuditEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One change, or one look at evidence: who, from where, what, on what, with which effect.

    `before` and `after` are SHA-256 of what stood there, "" for nothing. `chain` is SHA-256 over the chain of the entry
    before and this one, so that an entry that was altered or taken out shows. `seq` counts up from 1.
    """

    seq: int = 0
    at_ns: int
    actor_kind: ActorKind
    actor_id: str = ""
    actor_name: str = ""
    address: str = ""
    action: str
    target: str = ""
    outcome: AuditOutcome = AuditOutcome.DONE
    before: str = ""
    after: str = ""
    detail: str = ""
    request_id: str = ""
    chain: str = ""


class AuditFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which entries are asked for; `from_ns` is included, `to_ns` is not."""

    from_ns: int | None = None
    to_ns: int | None = None
    actor: str | None = None
    action: str | None = None
    target: str | None = None
    outcome: AuditOutcome | None = None


class TokenScope(StrEnum):
    """What a token is for; it opens nothing else."""

    FEEDS_READ = "feeds:read"
    DECISIONS_READ = "decisions:read"
    EVENTS_WRITE = "events:write"
    SENSORS_ENROL = "sensors:enrol"
    EVENTS_READ = "events:read"
    EVIDENCE_READ = "evidence:read"
    FINDINGS_WRITE = "findings:write"
    POLICY_READ = "policy:read"
    POLICY_WRITE = "policy:write"
    METRICS_READ = "metrics:read"
    AUDIT_READ = "audit:read"
    ADMIN = "admin"


SENSORS = frozenset({TokenScope.EVENTS_WRITE, TokenScope.SENSORS_ENROL})  # of tokens that may be bound to a sensor


class Token(msgspec.Struct, frozen=True, kw_only=True):
    """Who a machine is and what it may do. `digest` and `previous_digest` are SHA-256 of the two secrets that are good.

    `list_name`, `profile` and `sensor_id` bind it to one of each, None does not; `allowed` and `denied` are prefixes
    that it may and may not come from (`allowed` empty: from anywhere else).
    """

    token_id: str
    name: str
    scopes: tuple[TokenScope, ...]
    list_name: str | None = None
    profile: str | None = None
    sensor_id: str | None = None
    allowed: tuple[str, ...] = ()
    denied: tuple[str, ...] = ()
    digest: bytes
    previous_digest: bytes | None = None
    created_at_ns: int
    expires_at_ns: int | None = None
    revoked_at_ns: int | None = None
    last_used_ns: int | None = None
