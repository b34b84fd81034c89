"""Events in the Common Event Format (CEF 0), one a line, as ArcSight, QRadar and Sentinel read it."""

from rules.values.direction import Direction
from rules.values.event import Event
from rules.values.verdict import Severity

SEVERITIES = {Severity.INFORMATIONAL: 1, Severity.LOW: 3, Severity.MEDIUM: 6, Severity.HIGH: 8}


DIRECTIONS = {Direction.INBOUND: 0, Direction.OUTBOUND: 1}  # there is no number for anything else


def write(event: Event, version: str) -> bytes:
    """Return the event as one line."""
    service = event.service or "unknown"
    header = (
        "Molecatcher",
        "Molecatcher",
        version,
        f"{event.verdict.value}:{event.role.value}",
        f"{service} {event.role.value} {event.verdict.value}",
        str(SEVERITIES[event.severity]),
    )
    extension = " ".join(f"{key}={_value(str(value))}" for key, value in _extension(event) if value not in (None, ""))
    return "|".join(["CEF:0", *map(_header, header), extension]).encode() + b"\n"


def _extension(event: Event) -> list[tuple[str, object]]:
    return [
        ("rt", event.observed_at_ns // 1_000_000),
        ("start", event.first_seen_ns // 1_000_000),
        ("end", event.last_seen_ns // 1_000_000),
        ("externalId", event.event_id),
        ("deviceCustomDate1Label", "received" if event.received_at_ns else None),
        ("deviceCustomDate1", event.received_at_ns and event.received_at_ns // 1_000_000),
        ("dvchost", event.sensor_name or event.sensor_id),
        ("deviceExternalId", event.sensor_id),
        ("deviceDirection", DIRECTIONS.get(event.direction) if event.direction else None),
        ("deviceInboundInterface", event.interface),
        ("src", event.src_ip),
        ("spt", event.src_port),
        ("shost", event.src_host),
        ("smac", event.src_mac),
        ("suser", event.src_user),
        ("spid", event.src_pid),
        ("sproc", event.src_process),
        ("dst", event.dst_ip),
        ("dpt", event.dst_port),
        ("dhost", event.dst_name),
        ("proto", event.transport.value.upper()),
        ("app", event.service),
        ("act", event.action.value),
        ("cat", event.service_category),
        ("cnt", event.count),
        ("out", event.bytes_out),
        ("in", event.bytes_in),
        ("cs1Label", "verdict"),
        ("cs1", event.verdict.value),
        ("cs2Label", "ja4" if event.ja4 else None),
        ("cs2", event.ja4),
        ("cs3Label", "exception" if event.exception_id else None),
        ("cs3", event.exception_id),
        ("cs4Label", "rule" if event.rule_id else None),
        ("cs4", event.rule_id),
        ("cs5Label", "policy" if event.policy_digest else None),
        ("cs5", event.policy_digest),
        ("cs6Label", "site" if event.site else None),
        ("cs6", event.site),
        ("cn1Label", "confidence"),
        ("cn1", event.confidence),
        ("msg", "; ".join(reason.detail for reason in event.reasons)),
    ]


def _header(text: str) -> str:
    return " ".join(text.replace("\\", "\\\\").replace("|", "\\|").splitlines())


def _value(text: str) -> str:
    return text.replace("\\", "\\\\").replace("=", "\\=").replace("\r", "\\r").replace("\n", "\\n")
