"""The tables. Rows of these classes do not leave the package; every index serves a query in `db`.

Any change here needs an Alembic revision in `db/schema/migrations/versions`; a test compares the two.
"""

from sqlalchemy import JSON, BigInteger, CheckConstraint, Index, LargeBinary, MetaData, Text, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "pk": "pk_%(table_name)s",
}


COUNTED = ("dst_name", "count", "bytes_out", "bytes_in")  # in an index so that counting by name reads nothing else


class Base(DeclarativeBase):
    """The tables' common metadata: text is unbounded, integers are 64 bits wide."""

    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy declares it as a plain class attribute
        str: Text(),
        int: BigInteger(),
        bytes: LargeBinary(),
        list[str]: JSON(),
        list[dict[str, str]]: JSON(),
        dict[str, object]: JSON(),
        dict[str, str]: JSON(),
    }


class EventRow(Base):
    """One `rules.values.event.Event`, at its highest revision.

    `ingest_seq` is drawn anew for each revision while the writer holds the counter (`events.append`), so its order
    is the order of commits. The keyset indexes end in `event_id`, which makes every page a walk along one index; in
    two of them follows what is `COUNTED`, in that of sources also which finding an event belongs to.
    """

    __tablename__ = "events"
    __table_args__ = (
        CheckConstraint("revision >= 1", name="revision"),
        CheckConstraint("count >= 1", name="count"),
        CheckConstraint("bytes_out >= 0 AND bytes_in >= 0 AND packets >= 0 AND duration_ms >= 0", name="traffic"),
        CheckConstraint("confidence BETWEEN 0 AND 100", name="confidence"),
        CheckConstraint("src_port BETWEEN 0 AND 65535 AND dst_port BETWEEN 0 AND 65535", name="ports"),
        CheckConstraint("verdict <> 'unknown'", name="verdict"),
        CheckConstraint("sensor_loss >= 0", name="sensor_loss"),
        Index("ix_events_observed_at_ns_event_id", "observed_at_ns", "event_id", "src_ip", *COUNTED),
        Index("ix_events_src_ip_observed_at_ns_event_id", "src_ip", "observed_at_ns", "event_id", *COUNTED, "facet_id"),
        Index(None, "dst_ip", "observed_at_ns", "event_id"),
        Index(None, "dst_name", "observed_at_ns", "event_id"),
        Index(None, "service", "observed_at_ns", "event_id"),
        Index(None, "verdict", "observed_at_ns", "event_id"),
        Index(None, "facet_id", "observed_at_ns", "event_id"),
        Index(None, "src_ip", "facet_id", "observed_at_ns", "event_id"),
        Index(None, "dst_ip", "facet_id", "observed_at_ns", "event_id"),
        Index(None, "dst_name", "facet_id", "observed_at_ns", "event_id"),
    )

    event_id: Mapped[str] = mapped_column(primary_key=True)
    ingest_seq: Mapped[int] = mapped_column(unique=True)
    revision: Mapped[int]
    schema_version: Mapped[str]
    observed_at_ns: Mapped[int]
    received_at_ns: Mapped[int | None]
    kind: Mapped[str]
    verdict: Mapped[str]
    state: Mapped[str]
    refusal: Mapped[str | None]
    service: Mapped[str | None]
    service_category: Mapped[str | None]
    role: Mapped[str]
    severity: Mapped[str]
    confidence: Mapped[int]
    rule_id: Mapped[str | None]
    rule_version: Mapped[str | None]
    policy_digest: Mapped[str | None]
    reasons: Mapped[list[dict[str, str]]]
    sensor_id: Mapped[str]
    sensor_name: Mapped[str | None]
    site: Mapped[str | None]
    src_ip: Mapped[str]
    src_port: Mapped[int]
    src_host: Mapped[str | None]
    src_mac: Mapped[str | None]
    src_user: Mapped[str | None]
    src_uid: Mapped[int | None]
    src_process: Mapped[str | None]
    src_exe: Mapped[str | None]
    src_cmdline: Mapped[str | None]
    src_pid: Mapped[int | None]
    src_container: Mapped[str | None]
    dst_ip: Mapped[str]
    dst_port: Mapped[int]
    dst_name: Mapped[str | None]
    transport: Mapped[str]
    direction: Mapped[str | None]
    interface: Mapped[str]
    dns_query: Mapped[str | None]
    dns_type: Mapped[int | None]
    dns_rcode: Mapped[int | None]
    dns_answers: Mapped[list[str]]
    tls_sni: Mapped[str | None]
    alpn: Mapped[list[str]]
    ja4: Mapped[str | None]
    exception_id: Mapped[str | None]
    count: Mapped[int]
    bytes_out: Mapped[int]
    bytes_in: Mapped[int]
    packets: Mapped[int]
    duration_ms: Mapped[int]
    first_seen_ns: Mapped[int]
    last_seen_ns: Mapped[int]
    sensor_loss: Mapped[int]
    facet_id: Mapped[int]


class FacetRow(Base):
    """One combination of what events are filtered by and have few values of; an absent service is "".

    There are some hundreds, whatever the number of events: as many as sensors, services and their states make. One that
    neither an event nor a sum has any more leaves (`db.retention`), and its number may be given to another.
    """

    __tablename__ = "facets"
    __table_args__ = (UniqueConstraint("verdict", "role", "severity", "state", "action", "service", "sensor_id"),)

    facet_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    verdict: Mapped[str]
    role: Mapped[str]
    severity: Mapped[str]
    state: Mapped[str]
    action: Mapped[str]
    service: Mapped[str]
    sensor_id: Mapped[str]


class EvidenceRow(Base):
    """The packets that an event rests on, a pcapng file, of the highest revision that brought any."""

    __tablename__ = "evidence"

    event_id: Mapped[str] = mapped_column(primary_key=True)
    revision: Mapped[int]
    size: Mapped[int]
    octets: Mapped[bytes]


class FindingRow(Base):
    """One `db.values.Finding`; an absent service is "" because NULL would not be unique.

    `state` follows from `decision`, `decided_at_ns`, `exception_id` and `last_seen_ns` and is kept for filtering;
    `tunnel_state_at_ns` is 0 where no connection was seen; `divided` is 1 where it has parts.
    """

    __tablename__ = "findings"
    __table_args__ = (
        UniqueConstraint("src_ip", "service", "role"),
        Index(None, "last_seen_ns", "finding_id"),
        Index(None, "service", "last_seen_ns", "finding_id"),
        Index(None, "state", "last_seen_ns", "finding_id"),
        Index(None, "src_ip", "last_seen_ns", "finding_id"),
        Index(None, "assignee", "last_seen_ns", "finding_id"),
        Index(None, "exception_id", "service"),
    )

    finding_id: Mapped[str] = mapped_column(primary_key=True)
    src_ip: Mapped[str]
    service: Mapped[str]
    role: Mapped[str]
    verdict: Mapped[str]
    severity: Mapped[str]
    confidence: Mapped[int]
    state: Mapped[str]
    tunnel_state: Mapped[str]
    tunnel_state_at_ns: Mapped[int]
    first_seen_ns: Mapped[int]
    last_seen_ns: Mapped[int]
    events: Mapped[int]
    sightings: Mapped[int]
    bytes_out: Mapped[int]
    bytes_in: Mapped[int]
    dst_name: Mapped[str | None]
    event_id: Mapped[str]
    sensor_id: Mapped[str]
    sensor_loss: Mapped[int]
    exception_id: Mapped[str | None]
    decision: Mapped[str | None]
    decided_at_ns: Mapped[int | None]
    assignee: Mapped[str | None]
    divided: Mapped[int]


class SensorRow(Base):
    """A sensor's newest heartbeat: `status` is the whole of it, the columns are for filtering."""

    __tablename__ = "sensors"

    sensor_id: Mapped[str] = mapped_column(primary_key=True)
    hostname: Mapped[str]
    version: Mapped[str]
    started_at_ns: Mapped[int]
    heartbeat_ns: Mapped[int]
    status: Mapped[dict[str, object]]


class PublishedRow(Base):
    """One `db.lists.values.SnapshotRow`; it is never changed once written."""

    __tablename__ = "snapshots"

    list_name: Mapped[str] = mapped_column(primary_key=True)
    profile: Mapped[str] = mapped_column(primary_key=True)
    serial: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    created_at_ns: Mapped[int]
    digest: Mapped[str]
    body: Mapped[bytes]


class PullRow(Base):
    """One `db.lists.values.PullRecord`."""

    __tablename__ = "pulls"
    __table_args__ = (Index(None, "last_pull_ns"),)

    pull_id: Mapped[str] = mapped_column(primary_key=True)
    token_id: Mapped[str]
    consumer: Mapped[str]
    address: Mapped[str]
    user_agent: Mapped[str]
    list_name: Mapped[str]
    profile: Mapped[str]
    format: Mapped[str]
    serial: Mapped[int]
    status: Mapped[int]
    first_pull_ns: Mapped[int]
    last_pull_ns: Mapped[int]
    changed_ns: Mapped[int]
    pulls: Mapped[int]
    failures: Mapped[int]


class ResolutionRow(Base):
    """One `db.lists.values.Resolution`."""

    __tablename__ = "resolutions"

    name: Mapped[str] = mapped_column(primary_key=True)
    addresses: Mapped[list[str]]
    resolved_at_ns: Mapped[int]
    ok: Mapped[bool]


class TokenRow(Base):
    """One `db.access.values.Token`."""

    __tablename__ = "tokens"

    token_id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    scopes: Mapped[list[str]]
    list_name: Mapped[str | None]
    profile: Mapped[str | None]
    sensor_id: Mapped[str | None]
    allowed: Mapped[list[str]]
    denied: Mapped[list[str]]
    digest: Mapped[bytes]
    previous_digest: Mapped[bytes | None]
    created_at_ns: Mapped[int]
    expires_at_ns: Mapped[int | None]
    revoked_at_ns: Mapped[int | None]
    last_used_ns: Mapped[int | None]


class SessionRow(Base):
    """One `db.access.values.Session`."""

    __tablename__ = "sessions"
    __table_args__ = (Index(None, "expires_at_ns"),)

    digest: Mapped[bytes] = mapped_column(primary_key=True)
    session_id: Mapped[str] = mapped_column(unique=True)
    issuer: Mapped[str]
    subject: Mapped[str]
    name: Mapped[str]
    role: Mapped[str]
    amr: Mapped[list[str]]
    acr: Mapped[str]
    address: Mapped[str]
    authenticated_at_ns: Mapped[int]
    created_at_ns: Mapped[int]
    used_at_ns: Mapped[int]
    expires_at_ns: Mapped[int]
    revoked_at_ns: Mapped[int | None]
    provider_sid: Mapped[str]
    provider_groups: Mapped[list[str]]


class AccountRow(Base):
    """One `db.access.values.Account`."""

    __tablename__ = "accounts"

    name: Mapped[str] = mapped_column(primary_key=True)
    password_hash: Mapped[str]
    is_for_loopback_only: Mapped[bool]
    created_at_ns: Mapped[int]
    used_at_ns: Mapped[int | None]


class AuditRow(Base):
    """One `db.access.values.AuditEntry`. A trigger refuses to change one."""

    __tablename__ = "audit"
    __table_args__ = (Index(None, "at_ns"),)

    seq: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    at_ns: Mapped[int]
    actor_kind: Mapped[str]
    actor_id: Mapped[str]
    actor_name: Mapped[str]
    address: Mapped[str]
    action: Mapped[str]
    target: Mapped[str]
    outcome: Mapped[str]
    before: Mapped[str]
    after: Mapped[str]
    detail: Mapped[str]
    request_id: Mapped[str]
    chain: Mapped[str]


class MetaRow(Base):
    """A number that the store itself needs, by name: see below."""

    __tablename__ = "meta"

    name: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[int]


INGEST_SEQ = "ingest_seq"
WRITE_PROBE = "write_probe"
EVIDENCE_OCTETS = "evidence_octets"  # the sum of `EvidenceRow.size`
EVIDENCE_EVICTED = "evidence_evicted"  # how many made room for newer ones
TOKEN_REVISION = "token_revision"  # noqa: S105 - the name of a number
OVERLAY_REVISION = "overlay_revision"
HOURS_FROM = "hours_from"  # sums of earlier hours have left by age; there is none until some do
DAYS_FROM = "days_from"  # as for hours
