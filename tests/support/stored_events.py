"""Events as a sensor reports them, with sensible values for what a test does not care about."""

from typing import Any

from rules.values.event import Event, EventReason
from rules.values.observation import FlowState, Kind, Transport
from rules.values.verdict import Outcome, Role, Severity

T0_NS = 1_790_000_000_000_000_000
SECOND_NS = 1_000_000_000
RECEIVED_NS = T0_NS + 10**7 * SECOND_NS


def event_id(number: int) -> str:
    return f"01990000-0000-7000-8000-{number:012x}"


def received() -> int:
    """The clock of a store that takes the events of `make_event`."""
    return RECEIVED_NS


def make_event(number: int, **changes: Any) -> Event:
    """Return event `number`, observed that many seconds after T0_NS."""
    at_ns = T0_NS + number * SECOND_NS
    fields: dict[str, Any] = {
        "event_id": event_id(number),
        "observed_at_ns": at_ns,
        "received_at_ns": RECEIVED_NS,
        "kind": Kind.TLS,
        "verdict": Outcome.UNSANCTIONED,
        "state": FlowState.LIVE,
        "service": "ngrok",
        "service_category": "reverse-tunnel",
        "role": Role.AGENT,
        "severity": Severity.HIGH,
        "confidence": 90,
        "reasons": (EventReason("tls_sni", "connect.ngrok-agent.com", "an agent domain of ngrok"),),
        "sensor_id": "gateway-1",
        "src_ip": "10.20.0.7",
        "src_port": 50_000,
        "dst_ip": "198.51.100.9",
        "dst_port": 443,
        "dst_name": "connect.ngrok-agent.com",
        "transport": Transport.TCP,
        "interface": "eth1",
        "tls_sni": "connect.ngrok-agent.com",
        "alpn": ("h2",),
        "ja4": "t13d1516h2_8daaf6152771_b186095e22b6",
        "first_seen_ns": at_ns,
        "last_seen_ns": at_ns,
    }
    return Event(**(fields | changes))
