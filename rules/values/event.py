"""The event: what the sensor reports, the store keeps and the API serves, under the same names everywhere."""

import ipaddress
import secrets
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import lru_cache

import msgspec

from rules.values.direction import Direction, direction_of
from rules.values.observation import Action, FlowState, Kind, Observation, Refusal, Transport, action_of
from rules.values.source import Source
from rules.values.verdict import Outcome, Role, Severity, Verdict

SCHEMA_VERSION = "1"
MAX_DNS_ANSWERS = 16
DEMONSTRATION = "demonstration"  # the sensor id of events that a recording made


class Origin(msgspec.Struct, frozen=True):
    """The sensor that reports: its id, what people call it, and where it stands."""

    sensor_id: str
    sensor_name: str | None = None
    site: str | None = None


class Basis(msgspec.Struct, frozen=True):
    """The rules that a verdict rests on: the catalogue's version, and a digest of what the policy says."""

    rule_version: str | None = None
    policy_digest: str | None = None


NO_BASIS = Basis()


class EventReason(msgspec.Struct, frozen=True):
    """One reason of a verdict as it is stored and served."""

    evidence: str
    indicator: str
    detail: str


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One aggregated detection.

    Times are nanoseconds since the epoch, UTC. `count`, `first_seen_ns`, `last_seen_ns` and what was carried are
    absolute: a later report of the same `event_id` carries a higher `revision` and replaces the earlier one.
    `bytes_out`, `bytes_in` and `packets` are sums over all flows of the event (`rules.values.observation.Traffic`),
    `duration_ms` is the time from the first packet of any to the last packet of any. `sensor_loss` is how many packets
    the sensor lost from a minute before the event to its last report: where it is not 0, counts may be low.
    `received_at_ns` is when the store took the first report: it says so itself, whatever a sensor sends.
    `rule_id` is a `rules.values.verdict.Rule`, as text: a sensor may know rules that the store's version does not.
    `direction` is None where both ends have addresses of the Internet and nothing else tells which is ours.
    `src_host` to `src_container` are a `source.Source`, known only some time after the first report, if at all.
    `evidence` is a pcapng file of the few packets that decided, stored and served apart; b"": the report brings none.
    """

    event_id: str
    revision: int = 1
    schema_version: str = SCHEMA_VERSION
    observed_at_ns: int
    received_at_ns: int | None = None
    kind: Kind
    verdict: Outcome
    state: FlowState
    refusal: Refusal | None = None
    service: str | None = None
    service_category: str | None = None
    role: Role
    severity: Severity
    confidence: int
    rule_id: str | None = None
    rule_version: str | None = None
    policy_digest: str | None = None
    reasons: tuple[EventReason, ...] = ()
    sensor_id: str
    sensor_name: str | None = None
    site: str | None = None
    src_ip: str
    src_port: int
    src_host: str | None = None
    src_mac: str | None = None
    src_user: str | None = None
    src_uid: int | None = None
    src_process: str | None = None
    src_exe: str | None = None
    src_cmdline: str | None = None
    src_pid: int | None = None
    src_container: str | None = None
    dst_ip: str
    dst_port: int
    dst_name: str | None = None
    transport: Transport
    direction: Direction | None = None
    interface: str = ""
    dns_query: str | None = None
    dns_type: int | None = None
    dns_rcode: int | None = None
    dns_answers: tuple[str, ...] = ()
    tls_sni: str | None = None
    alpn: tuple[str, ...] = ()
    ja4: str | None = None
    exception_id: str | None = None
    count: int = 1
    bytes_out: int = 0
    bytes_in: int = 0
    packets: int = 0
    duration_ms: int = 0
    first_seen_ns: int
    last_seen_ns: int
    sensor_loss: int = 0
    evidence: bytes = b""

    @property
    def action(self) -> Action:
        """Return what the network did with it."""
        return action_of(self.state, self.refusal)


APART = frozenset({"evidence"})  # served on request only
AGGREGATE_FIELDS = frozenset(
    (
        *("event_id", "revision", "sensor_id", "sensor_name", "site", "received_at_ns"),
        *("count", "first_seen_ns", "last_seen_ns", "sensor_loss"),
    )
)


def uuid7(unix_ns: int, digest: int | None = None) -> str:
    """Return a new UUIDv7 whose time part is `unix_ns` (RFC 9562 section 5.7); of the same `digest` always the same."""
    milliseconds = (unix_ns // 1_000_000) & ((1 << 48) - 1)
    rand = secrets.randbits(74) if digest is None else digest & ((1 << 74) - 1)
    value = (milliseconds << 80) | (0x7 << 76) | ((rand >> 62) << 64) | (0b10 << 62) | (rand & ((1 << 62) - 1))
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def make_event(
    observation: Observation, verdict: Verdict, event_id: str, origin: Origin, basis: Basis = NO_BASIS
) -> Event:
    """Return the first report of a detection as an event."""
    flow, dns, hello, traffic = observation.five_tuple, observation.dns, observation.hello, observation.traffic
    return Event(
        event_id=event_id,
        observed_at_ns=observation.observed_at_ns,
        kind=observation.kind,
        verdict=verdict.outcome,
        state=observation.state,
        refusal=observation.refusal,
        service=verdict.service,
        service_category=verdict.category,
        role=verdict.role,
        severity=verdict.severity,
        confidence=verdict.confidence,
        rule_id=verdict.rule.value if verdict.rule else None,
        rule_version=basis.rule_version,
        policy_digest=basis.policy_digest,
        reasons=tuple(EventReason(reason.evidence, reason.indicator, reason.detail) for reason in verdict.reasons),
        sensor_id=origin.sensor_id,
        sensor_name=origin.sensor_name,
        site=origin.site,
        src_ip=address_text(flow.src),
        src_port=flow.src_port,
        src_user=observation.user,
        dst_ip=address_text(flow.dst),
        dst_port=flow.dst_port,
        dst_name=verdict.dst_name,
        transport=flow.transport,
        direction=direction_of(flow.src, flow.dst),
        interface=observation.interface,
        dns_query=dns.qname if dns else None,
        dns_type=dns.qtype if dns else None,
        dns_rcode=dns.rcode if dns else None,
        dns_answers=(dns.cnames + tuple(map(address_text, dns.addresses)))[:MAX_DNS_ANSWERS] if dns else (),
        tls_sni=hello.sni if hello else None,
        alpn=hello.alpn if hello else (),
        ja4=hello.ja4 if hello else None,
        exception_id=verdict.exception_id,
        bytes_out=traffic.octets_out,
        bytes_in=traffic.octets_in,
        packets=traffic.packets,
        duration_ms=duration_ms(observation.observed_at_ns, traffic.last_ns),
        first_seen_ns=observation.observed_at_ns,
        last_seen_ns=observation.observed_at_ns,
    )


def with_source(event: Event, source: Source) -> Event:
    """Return the event with `source` in place of what was known of its source; who is known so well is one of ours."""
    is_ours = source.uid is not None or source.mac is not None
    direction = event.direction or (Direction.OUTBOUND if is_ours else None)
    known = {f"src_{name}": value for name, value in _fields(source)}
    return msgspec.structs.replace(event, direction=direction, **known)


def source_of(event: Event) -> Source:
    """Return what is known of the source of an event."""
    return Source(**{name: getattr(event, f"src_{name}") for name in Source.__struct_fields__})


def _fields(source: Source) -> Iterator[tuple[str, object]]:
    return ((name, getattr(source, name)) for name in source.__struct_fields__)


def duration_ms(first_ns: int, last_ns: int) -> int:
    """Return the milliseconds between two packets, 0 where the second is missing or came before."""
    return max(0, last_ns - first_ns) // 1_000_000


@lru_cache(maxsize=4096)
def address_text(packed: bytes) -> str:
    """Return a packed IPv4 or IPv6 address as text (RFC 5952)."""
    return str(ipaddress.ip_address(packed))


def rfc3339(unix_ns: int) -> str:
    """Return `unix_ns` as an RFC 3339 UTC time in microseconds, such as `2026-11-23T18:00:00.000000Z`."""
    seconds, nanoseconds = divmod(unix_ns, 1_000_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{nanoseconds // 1000:06d}Z"


def to_document(event: Event, *, with_aggregates: bool = True) -> dict[str, object]:
    """Return the event as the JSON object that users see: times as RFC 3339 text under `..._at` and `..._seen`."""
    document: dict[str, object] = {"action": event.action.value}
    for name, value in msgspec.to_builtins(event).items():
        if name in APART or (not with_aggregates and name in AGGREGATE_FIELDS):
            continue
        if name.endswith("_ns"):
            document[name.removesuffix("_ns")] = None if value is None else rfc3339(value)
        else:
            document[name] = value
    return document
