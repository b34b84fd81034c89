"""The documents that the API answers with, for its OpenAPI description. Handlers build them from the store's values."""

from datetime import date, datetime

from pydantic import BaseModel, ConfigDict, Field

from api.sensor_rules import RulesState
from db.values import FindingState, Metric
from rules.direction import Direction
from rules.observation import Action, FlowState, Kind, Refusal, Transport
from rules.policy import PolicyOrigin
from rules.sensor_status import SensorState
from rules.verdict import Decision, Outcome, Role, Severity

TIME = datetime.fromisoformat("2026-11-23T18:00:00.000000+00:00")
POLICY_DIGEST = "9f2c1e77a0b4d358"
EVENT_ID = "019ab1f0-8c00-7000-8000-00000000002a"


class Document(BaseModel):
    """Base of the documents: a member that is not declared here is a mistake of ours."""

    model_config = ConfigDict(extra="forbid")


class ReasonDocument(Document):
    """One piece of evidence for a verdict."""

    evidence: str = Field(examples=["tls_sni"])
    indicator: str = Field(examples=["connect.ngrok-agent.com"])
    detail: str = Field(examples=["the TLS hello asks for connect.ngrok-agent.com, where ngrok agents connect"])


class EventDocument(Document):
    """One aggregated detection; a later report of the same `event_id` has a higher `revision`.

    What is null is not known, or says nothing here: older sensors do not report every member.
    """

    event_id: str = Field(examples=[EVENT_ID])
    revision: int = Field(examples=[1])
    schema_version: str = Field(examples=["1"])
    observed_at: datetime = Field(examples=[TIME])
    received_at: datetime | None = Field(description="When the first report of it was stored", examples=[TIME])
    kind: Kind
    verdict: Outcome
    state: FlowState
    action: Action = Field(description="`state` and `refusal` in the words of other products' events")
    refusal: Refusal | None = Field(
        description="What said no; blocked without it: nobody answered, or the answer led nowhere", examples=[None]
    )
    service: str | None = Field(examples=["ngrok"])
    service_category: str | None = Field(examples=["reverse-tunnel"])
    role: Role
    severity: Severity
    confidence: int = Field(ge=0, le=100, examples=[95])
    rule_id: str | None = Field(description="Which rule decided (docs/detection.md)", examples=["listed_name"])
    rule_version: str | None = Field(description="Of the catalogue that it was judged by", examples=["2026.11.23"])
    policy_digest: str | None = Field(
        description="Of the policy that it was judged by; `/v1/policy` has that of the one in force",
        examples=[POLICY_DIGEST],
    )
    reasons: list[ReasonDocument]
    sensor_id: str = Field(examples=["gateway-1"])
    sensor_name: str | None = Field(description="What people call the sensor", examples=["gateway.example.com"])
    site: str | None = Field(description="Where the sensor stands, as its settings say", examples=["Berlin"])
    src_ip: str = Field(examples=["10.20.0.7"])
    src_port: int = Field(examples=[51234])
    src_host: str | None = Field(description="The name of the source: of its lease, or the sensor's own")
    src_mac: str | None = Field(description="Hardware address of a source beside the sensor's host")
    src_user: str | None = Field(description="Who it was, as far as anybody said", examples=["alice"])
    src_uid: int | None = Field(description="The user who made the socket", examples=[1000])
    src_process: str | None = Field(examples=["ngrok"])
    src_exe: str | None = Field(examples=["/usr/local/bin/ngrok"])
    src_cmdline: str | None = Field(description="Without secrets", examples=["ngrok http 8080 --authtoken ***"])
    src_pid: int | None = Field(examples=[4711])
    src_container: str | None = Field(description="ENGINE:ID, or systemd:UNIT", examples=["docker:4f1c2a9b7d3e"])
    dst_ip: str = Field(examples=["203.0.113.9"])
    dst_port: int = Field(examples=[443])
    dst_name: str | None = Field(examples=["connect.ngrok-agent.com"])
    transport: Transport
    direction: Direction | None = Field(
        description="Null where both ends have addresses of the Internet and nothing tells which is ours"
    )
    interface: str = Field(examples=["eth0"])
    dns_query: str | None = Field(examples=[None])
    dns_type: int | None = Field(examples=[None])
    dns_rcode: int | None = Field(examples=[None])
    dns_answers: list[str] = Field(examples=[[]])
    tls_sni: str | None = Field(examples=["connect.ngrok-agent.com"])
    alpn: list[str] = Field(examples=[[]])
    ja4: str | None = Field(examples=["t13d191000_9dc949149365_e7c285222651"])
    exception_id: str | None = Field(examples=[None])
    count: int = Field(examples=[3])
    bytes_out: int = Field(description="Octets of whole frames from the source, over all its flows", examples=[48_211])
    bytes_in: int = Field(description="Octets of whole frames to the source", examples=[1_903_114])
    packets: int = Field(description="Packets both ways", examples=[2_104])
    duration_ms: int = Field(description="From the first packet to the last one so far", examples=[61_250])
    first_seen: datetime = Field(examples=[TIME])
    last_seen: datetime = Field(examples=[TIME])
    sensor_loss: int = Field(
        description="Packets that the sensor lost from a minute before to this report: if any, counts may be low",
        examples=[0],
    )


class EventDetail(EventDocument):
    """One event, and what it means."""

    explanation: list[str] = Field(
        description="The verdict in sentences",
        examples=[["10.20.0.7 runs a tunnel of ngrok, which the policy does not sanction.", "It was blocked."]],
    )


class EventPage(Document):
    """Events, newest first. `next` is the cursor of the page after this one, null on the last."""

    items: list[EventDocument]
    next: str | None = Field(examples=[None])


class GroupDocument(Document):
    """Events with the same values of what they were counted by."""

    start: datetime | None = Field(description="The interval's beginning, null without intervals", examples=[TIME])
    values: dict[str, str | None] = Field(examples=[{"service": "ngrok", "verdict": "unsanctioned"}])
    value: int = Field(examples=[12])


class AggregateDocument(Document):
    """Counted events: intervals in order, the highest value first."""

    counted_from: datetime | None = Field(examples=[TIME])
    counted_to: datetime | None = Field(examples=[None])
    metric: Metric
    groups: list[GroupDocument]
    is_truncated: bool = Field(description="There are more groups than `limit`")


class FindingDocument(Document):
    """What one source does with one service in one role, over all its events."""

    finding_id: str
    src_ip: str = Field(examples=["10.20.0.7"])
    service: str | None = Field(examples=["ngrok"])
    role: Role
    verdict: Outcome
    severity: Severity
    confidence: int = Field(ge=0, le=100, examples=[95])
    state: FindingState
    tunnel_state: FlowState = Field(description="Of the connection seen last, or of a look-up that was blocked later")
    tunnel_state_at: datetime | None = Field(
        description="When the tunnel was in that state last; null: a name was looked up, no more", examples=[TIME]
    )
    first_seen: datetime = Field(examples=[TIME])
    last_seen: datetime = Field(examples=[TIME])
    events: int = Field(examples=[4])
    sightings: int = Field(examples=[12])
    bytes_out: int = Field(description="Octets from the source, over all its events", examples=[48_211])
    bytes_in: int = Field(description="Octets to the source", examples=[1_903_114])
    dst_name: str | None = Field(examples=["connect.ngrok-agent.com"])
    event_id: str = Field(description="The event seen last", examples=[EVENT_ID])
    sensor_id: str = Field(examples=["gateway-1"])
    sensor_loss: int = Field(
        description="The highest of its events: at least so many packets were lost while it was seen", examples=[0]
    )
    exception_id: str | None = Field(examples=[None])
    decided_at: datetime | None = Field(examples=[None])
    assignee: str | None = Field(description="Who is to look into it", examples=["alice"])


class FindingPage(Document):
    """Findings, last seen first. `next` is the cursor of the page after this one, null on the last."""

    items: list[FindingDocument]
    next: str | None = Field(examples=[None])


class SeenDocument(Document):
    """What was seen of a service in the window."""

    events: int = Field(examples=[4])
    sightings: int = Field(examples=[12])
    sources: int = Field(description="Distinct source addresses", examples=[1])
    last_seen: datetime | None = Field(examples=[TIME])


class ServiceDocument(Document):
    """A service of the catalogue; `id` null gathers events that name no service."""

    id: str | None = Field(examples=["ngrok"])
    name: str = Field(examples=["ngrok"])
    category: str | None = Field(examples=["reverse-tunnel"])
    confidence: str | None = Field(examples=["high"])
    decision: Decision | None
    homepage: str | None = Field(examples=["https://tunnel.example/"])
    seen: SeenDocument


class CatalogueDocument(Document):
    """The catalogue in force; `warning` is a sentence where it is old."""

    version: str = Field(examples=["2026.11.23"])
    generated: date = Field(examples=["2026-11-23"])
    age_days: int = Field(examples=[6])
    is_old: bool
    origin: str = Field(description="the program, or an update", examples=["the program"])
    additions: list[str] = Field(description="Files of the organisation's own in it", examples=[["partner.toml"]])
    warning: str = Field(examples=[""])


class ServiceList(Document):
    """Services, the most recently seen first, then by name."""

    catalogue: CatalogueDocument
    seen_from: datetime = Field(examples=[TIME])
    seen_to: datetime = Field(examples=[TIME])
    items: list[ServiceDocument]


class SensorDocument(Document):
    """A sensor's heartbeat; counters are totals since `started_at`."""

    sensor_id: str = Field(examples=["gateway-1"])
    state: SensorState = Field(description="The worst that is true of it now", examples=["watching"])
    version: str = Field(examples=["0.1.0"])
    hostname: str = Field(examples=["gateway.example.com"])
    name: str = Field(description="What people call it: its host's name unless it is set", examples=["gateway-1"])
    site: str = Field(description="Where it stands, as its settings say", examples=["Berlin"])
    started_at: datetime = Field(examples=[TIME])
    heartbeat: datetime = Field(examples=[TIME])
    interfaces: list[str] = Field(description="Empty while it waits for a default route", examples=[["eth0"]])
    engine: str
    engine_reason: str
    packets: int = Field(examples=[1_234_567])
    octets: int = Field(examples=[987_654_321])
    kernel_drops: int = Field(description="Packets that the kernel had no room for", examples=[0])
    interface_drops: dict[str, int] = Field(
        description="The same by interface, since each was opened", examples=[{"eth0": 0}]
    )
    shed: int = Field(description="Packets that the program gave up", examples=[0])
    lost_last_minute: int = Field(description="Drops and shed packets of the minute before", examples=[0])
    buffer_fill: float = Field(
        ge=0, le=1, description="Share of the fullest ring or receive queue that waits to be read", examples=[0.015625]
    )
    buffer_fill_peak: float = Field(
        ge=0, le=1, description="The highest share since the heartbeat before; at 1 the kernel drops", examples=[0.0625]
    )
    lag_ms: int = Field(
        description="Age of the newest packet when it had been handled, the highest since the heartbeat before",
        examples=[52],
    )
    malformed: int = Field(examples=[0])
    flows: int = Field(description="Flows that were begun", examples=[310])
    flow_table_flows: int = Field(description="Flows in the table now", examples=[120])
    flow_table_size: int = Field(examples=[131_072])
    flow_map_opened: int = Field(description="Flows that the kernel's filter began to follow", examples=[340])
    flow_map_size: int = Field(description="Places in the filter's map, 0 without such a filter", examples=[131_072])
    flow_map_turnover: float = Field(
        description="Share of those places that new flows took since the heartbeat before", examples=[0.0001]
    )
    evicted: dict[str, int] = Field(description="Entries that left a full table", examples=[{"flows": 0, "dns": 0}])
    observations: int = Field(examples=[4021])
    unknown: int = Field(examples=[4000])
    events: int = Field(examples=[21])
    spool_events: int = Field(description="Events that wait on disk for the database", examples=[0])
    spool_octets: int = Field(description="The same in octets", examples=[0])
    pending_events: int = Field(description="Events that wait in memory for the disk", examples=[0])
    delivery_lag_ms: int = Field(description="How long the oldest event has waited", examples=[0])
    spool_overflow: int = Field(description="Events lost because the spool was full", examples=[0])
    copies: int = Field(description="Packets that another interface had shown already", examples=[0])
    policy_error: str = Field(examples=[""])
    catalogue_version: str = Field(description="Of the catalogue that it uses", examples=["2026.11.23"])
    is_remote: bool = Field(description="It takes its rules from this API")
    rules_revision: str = Field(description="Of those that it took last: their entity tag", examples=[""])
    rules_state: RulesState = Field(description="`behind`: it uses older rules than those in force for a minute")
    workers: int = Field(description="Processes that share its work; what is counted is their sum", examples=[1])


class CatalogueChoice(Document):
    """The catalogue in force: its version, and SHA-256 of the update that it comes from, if any."""

    version: str = Field(examples=["2026.11.23"])
    update: str | None = Field(examples=[None])


class SensorRulesDocument(Document):
    """What a sensor goes by: the policy as tables, each with its id, and which catalogue."""

    policy: dict[str, object] = Field(examples=[{"sanctions": [], "exceptions": [], "decisions": []}])
    catalogue: CatalogueChoice


class SensorList(Document):
    """Every sensor that ever reported."""

    items: list[SensorDocument]


class SanctionedDocument(Document):
    """A domain that may be used, with everything below it."""

    domain: str = Field(examples=["tunnels.example.com"])
    service: str = Field(examples=["ngrok"])
    owner: str = Field(examples=["platform@example.com"])
    reason: str = Field(examples=["team tenant"])
    expires: date | None = Field(examples=["2027-12-31"])
    is_active: bool
    origin: PolicyOrigin


class PolicyDocument(Document):
    """The policy in force; `error` says why the newest file was not taken."""

    path: str = Field(examples=["policy.toml"])
    loaded_at: datetime = Field(examples=[TIME])
    digest: str = Field(
        description="The same for policies that say the same, as events have it", examples=[POLICY_DIGEST]
    )
    sanctioned: list[SanctionedDocument]
    error: str = Field(examples=[""])
    warnings: list[str] = Field(examples=[[]])


class DemonstrationDocument(Document):
    """What came of the demonstration."""

    events: int = Field(description="Events stored, or removed", examples=[4])


class HealthDocument(Document):
    """The process answers."""

    status: str = Field(examples=["ok"])
    version: str = Field(examples=["0.1.0"])


class CheckDocument(Document):
    """One condition of readiness."""

    check: str = Field(examples=["database"])
    is_ok: bool
    detail: str = Field(examples=["writable"])


class ReadinessDocument(Document):
    """Everything that must work does."""

    status: str = Field(examples=["ready"])
    checks: list[CheckDocument]


class InvalidParameter(Document):
    """A parameter that was refused."""

    parameter: str = Field(examples=["limit"])
    detail: str = Field(examples=["Input should be less than or equal to 500"])


class ProblemDocument(BaseModel):
    """An error (RFC 9457). `type` is stable; `detail` says what to do."""

    type: str = Field(examples=["urn:molecatcher:problem:invalid-parameter"])
    title: str = Field(examples=["A parameter has a value that cannot be used"])
    status: int = Field(examples=[422])
    detail: str = Field(examples=["limit: Input should be less than or equal to 500"])
    errors: list[InvalidParameter] | None = None
    checks: list[CheckDocument] | None = None
    correlation_id: str | None = Field(None, description="Names the log entry of an internal error")
