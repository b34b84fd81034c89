"""The documents that the API answers with, for its OpenAPI description. Handlers build them from the store's values."""

from datetime import datetime

from pydantic import Field

from api.schemas.document import POLICY_DIGEST, TIME, Document
from db.values import FindingState, Metric
from rules.values.direction import Direction
from rules.values.observation import Action, FlowState, Kind, Refusal, Transport
from rules.values.verdict import Outcome, Role, Severity

EVENT_ID = "019ab1f0-8c00-7000-8000-00000000002a"


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
