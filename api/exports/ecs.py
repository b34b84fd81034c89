"""Events in the Elastic Common Schema (ECS 8.11), one JSON object a line."""

from typing import Final

import msgspec

from api.exports.dns_names import rcode_name, type_name
from rules.values.event import Event, rfc3339
from rules.values.observation import Action, Kind
from rules.values.verdict import Outcome, Severity

ECS_VERSION: Final = "8.11.0"
SEVERITIES = {Severity.INFORMATIONAL: 10, Severity.LOW: 25, Severity.MEDIUM: 50, Severity.HIGH: 75}
TYPES = {Action.OBSERVED: (), Action.BLOCKED: ("denied",), Action.REJECTED: ("denied",), Action.ALLOWED: ("allowed",)}


def write(event: Event, version: str) -> bytes:
    """Return the event as an ECS document."""
    document: dict[str, object] = {
        "@timestamp": rfc3339(event.observed_at_ns),
        "ecs": {"version": ECS_VERSION},
        "message": "; ".join(reason.detail for reason in event.reasons),
        "event": _event(event),
        "source": _endpoint(event.src_ip, event.src_port, event.src_host)
        | {"bytes": event.bytes_out}
        | ({"mac": event.src_mac.replace(":", "-").upper()} if event.src_mac else {}),
        "destination": _endpoint(event.dst_ip, event.dst_port, event.dst_name) | {"bytes": event.bytes_in},
        "network": {
            "transport": event.transport.value,
            "application": event.service,
            "direction": event.direction or "unknown",
            "bytes": event.bytes_out + event.bytes_in,
            "packets": event.packets,
        },
        "rule": {
            "id": event.rule_id,
            "version": event.rule_version,
            "name": event.service,
            "category": event.service_category,
            "ruleset": "molecatcher",
        },
        "observer": _observer(event, version),
        "user": {"name": event.src_user},
        "process": {
            "name": event.src_process,
            "executable": event.src_exe,
            "command_line": event.src_cmdline,
            "pid": event.src_pid,
        },
        "container": {"id": event.src_container},
        "dns": _dns(event),
        "tls": {"client": {"server_name": event.tls_sni, "ja4": event.ja4}},
        "related": {
            "ip": sorted({event.src_ip, event.dst_ip}),
            "hosts": sorted({name for name in (event.src_host, event.dst_name) if name}),
            "user": [event.src_user] if event.src_user else [],
        },
        "labels": {
            "verdict": event.verdict.value,
            "role": event.role.value,
            "state": event.state.value,
            "confidence": str(event.confidence),
            "refusal": event.refusal,
            "policy_digest": event.policy_digest,
            "alpn": ",".join(event.alpn),
            "exception_id": event.exception_id,
        },
    }
    return msgspec.json.encode(_without_blanks(document)) + b"\n"


def _event(event: Event) -> dict[str, object]:
    return {
        "id": event.event_id,
        "kind": "event" if event.verdict is Outcome.SANCTIONED else "alert",
        "category": ["network"],
        "type": ["connection", *TYPES[event.action]],
        "action": event.action.value,
        "dataset": f"molecatcher.{event.kind.value}",
        "module": "molecatcher",
        "severity": SEVERITIES[event.severity],
        "start": rfc3339(event.first_seen_ns),
        "end": rfc3339(event.last_seen_ns),
        "ingested": rfc3339(event.received_at_ns) if event.received_at_ns else None,
        "duration": event.duration_ms * 1_000_000,
        "reason": event.reasons[0].detail if event.reasons else None,
    }


def _observer(event: Event, version: str) -> dict[str, object]:
    return {
        "vendor": "Molecatcher",
        "product": "Molecatcher",
        "version": version,
        "serial_number": event.sensor_id,
        "name": event.sensor_name or event.sensor_id,
        "geo": {"name": event.site},
        "ingress": {"interface": {"name": event.interface}},
    }


def _endpoint(address: str, port: int, name: str | None) -> dict[str, object]:
    return {"address": name or address, "ip": address, "port": port, "domain": name}


def _dns(event: Event) -> dict[str, object]:
    if event.kind is not Kind.DNS:
        return {}
    return {
        "question": {"name": event.dns_query, "type": type_name(event.dns_type)},
        "response_code": rcode_name(event.dns_rcode),
        "answers": [{"data": answer} for answer in event.dns_answers],
    }


def _without_blanks(document: dict[str, object]) -> dict[str, object]:
    """Return the document without members that say nothing."""
    kept = {}
    for name, value in document.items():
        member = _without_blanks(value) if isinstance(value, dict) else value
        if member not in (None, "", {}, []):
            kept[name] = member
    return kept
