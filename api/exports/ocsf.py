"""Events in the Open Cybersecurity Schema Framework (OCSF 1.5), one JSON object a line.

Look-ups are DNS Activity (4003), all else is Network Activity (4001), both with the profile `security_control`: a
single alert belongs into the activity's class, Detection Finding is for cases.
"""

from typing import Final

import msgspec

from api.exports.dns_names import type_name
from rules.values.direction import Direction
from rules.values.event import Event
from rules.values.observation import Action, FlowState, Kind
from rules.values.verdict import Outcome, Severity

OCSF_VERSION: Final = "1.5.0"
NETWORK_ACTIVITY: Final = 4001
DNS_ACTIVITY: Final = 4003
DNS_QUERY, DNS_TRAFFIC = 1, 6
SEVERITIES = {Severity.INFORMATIONAL: 1, Severity.LOW: 2, Severity.MEDIUM: 3, Severity.HIGH: 4}
ACTIVITIES = {FlowState.ATTEMPTED: 1, FlowState.BLOCKED: 5, FlowState.LIVE: 6}  # Open, Refuse, Traffic
ACTION_IDS = {  # Observed, Denied, Denied, Allowed
    Action.OBSERVED: 3,
    Action.BLOCKED: 2,
    Action.REJECTED: 2,
    Action.ALLOWED: 1,
}
DISPOSITION_IDS = {  # Detected, Blocked, Rejected, Allowed
    Action.OBSERVED: 15,
    Action.BLOCKED: 2,
    Action.REJECTED: 25,
    Action.ALLOWED: 1,
}
DIRECTION_IDS = {None: 0, Direction.INBOUND: 1, Direction.OUTBOUND: 2, Direction.INTERNAL: 3}  # 0 unknown, 3 lateral
HIGH_CONFIDENCE, MEDIUM_CONFIDENCE = 80, 50
PROTOCOL_NUMBERS = {"tcp": 6, "udp": 17}


def write(event: Event, version: str) -> bytes:
    """Return the event as an OCSF object."""
    is_dns = event.kind is Kind.DNS
    class_uid = DNS_ACTIVITY if is_dns else NETWORK_ACTIVITY
    activity_id = _dns_activity(event) if is_dns else ACTIVITIES[event.state]
    document = {
        "class_uid": class_uid,
        "category_uid": 4,
        "activity_id": activity_id,
        "type_uid": class_uid * 100 + activity_id,
        "time": event.observed_at_ns // 1_000_000,
        "start_time": event.first_seen_ns // 1_000_000,
        "end_time": event.last_seen_ns // 1_000_000,
        "duration": event.duration_ms,
        "count": event.count,
        "severity_id": SEVERITIES[event.severity],
        "message": "; ".join(reason.detail for reason in event.reasons),
        "metadata": _metadata(event, version),
        "src_endpoint": _source(event),
        "dst_endpoint": {"ip": event.dst_ip, "port": event.dst_port, "hostname": event.dst_name},
        "connection_info": {
            "direction_id": DIRECTION_IDS[event.direction],
            "protocol_num": PROTOCOL_NUMBERS[event.transport.value],
            "protocol_name": event.transport.value,
        },
        "traffic": {"bytes_out": event.bytes_out, "bytes_in": event.bytes_in, "packets": event.packets},
        "app_name": event.service,
        "actor": _actor(event),
        "device": _sensor(event),
        "unmapped": {
            "verdict": event.verdict.value,
            "role": event.role.value,
            "refusal": event.refusal,
            "service_category": event.service_category,
            "alpn": event.alpn,
            "exception_id": event.exception_id,
            "sensor_loss": event.sensor_loss,
        },
    }
    document |= _security_control(event)
    document |= _dns(event) if is_dns else _tls(event)
    return msgspec.json.encode({name: value for name, value in document.items() if value}) + b"\n"


def _metadata(event: Event, version: str) -> dict[str, object]:
    received = {"logged_time": event.received_at_ns // 1_000_000} if event.received_at_ns else {}
    return received | {
        "version": OCSF_VERSION,
        "uid": event.event_id,
        "profiles": ["security_control", "host"],
        "product": {"name": "Molecatcher", "vendor_name": "Molecatcher", "version": version},
        "log_provider": event.sensor_id,
    }


def _security_control(event: Event) -> dict[str, object]:
    level = 3 if event.confidence >= HIGH_CONFIDENCE else 2 if event.confidence >= MEDIUM_CONFIDENCE else 1
    return {
        "action_id": ACTION_IDS[event.action],
        "disposition_id": DISPOSITION_IDS[event.action],
        "is_alert": event.verdict is not Outcome.SANCTIONED,
        "confidence_score": event.confidence,
        "confidence_id": level,
        "firewall_rule": _rule(event) if event.rule_id else None,
        "policy": {"name": "molecatcher", "version": event.policy_digest} if event.policy_digest else None,
    }


def _rule(event: Event) -> dict[str, object]:
    known = {"uid": event.rule_id, "name": event.service, "version": event.rule_version}
    return {name: value for name, value in known.items() if value}


def _sensor(event: Event) -> dict[str, object]:
    """Return what saw it."""
    device: dict[str, object] = {"uid": event.sensor_id, "type_id": 0}
    if event.sensor_name:
        device["name"] = event.sensor_name
    return device | ({"location": {"desc": event.site}} if event.site else {})


def _source(event: Event) -> dict[str, object]:
    known = {"hostname": event.src_host, "mac": event.src_mac}
    return {"ip": event.src_ip, "port": event.src_port} | {name: value for name, value in known.items() if value}


def _actor(event: Event) -> dict[str, object]:
    actor: dict[str, object] = {}
    if event.src_process:
        file = {"file": {"name": event.src_process, "path": event.src_exe, "type_id": 1}} if event.src_exe else {}
        actor["process"] = {"name": event.src_process, "pid": event.src_pid, "cmd_line": event.src_cmdline} | file
    if event.src_user:
        actor["user"] = {"name": event.src_user, "type_id": 0}
    return actor


def _dns_activity(event: Event) -> int:
    return DNS_QUERY if event.dns_rcode is None else DNS_TRAFFIC


def _dns(event: Event) -> dict[str, object]:
    answers = [{"rdata": answer} for answer in event.dns_answers]
    record_type = type_name(event.dns_type)
    query = {"hostname": event.dns_query or ""} | ({"type": record_type} if record_type else {})
    found: dict[str, object] = {"query": query, "answers": answers}
    return found if event.dns_rcode is None else found | {"rcode_id": event.dns_rcode}


def _tls(event: Event) -> dict[str, object]:
    found: dict[str, object] = {}
    if event.ja4:
        found["ja4_fingerprint_list"] = [{"type_id": 2, "value": event.ja4}]
    if event.tls_sni:
        found["tls"] = {"sni": event.tls_sni}
    return found
