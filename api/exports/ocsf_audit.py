"""Entries of the audit log in OCSF 1.5: sign-ins are Authentication (3002), all else is API Activity (6003)."""

from typing import Final

from api.exports.ocsf import OCSF_VERSION
from db.access.values import ActorKind, AuditEntry, AuditOutcome

AUTHENTICATION: Final = 3002
API_ACTIVITY: Final = 6003
ACTIVITIES = {"create": 1, "read": 2, "export": 2, "evidence": 2, "update": 3, "rotate": 3, "delete": 4, "revoke": 4}
SIGN_IN, SIGN_OUT, OTHER = 1, 2, 99
STATUSES = {AuditOutcome.DONE: 1, AuditOutcome.REFUSED: 2, AuditOutcome.FAILED: 2}
INFORMATIONAL, MEDIUM, HIGH = 1, 3, 4
USER, SYSTEM_USER = 1, 3  # user.type_id


def ocsf_audit(entry: AuditEntry, version: str) -> dict[str, object]:
    """Return an entry as an OCSF object."""
    noun, _, verb = entry.action.partition(".")
    is_session = noun == "session"
    class_uid = AUTHENTICATION if is_session else API_ACTIVITY
    activity_id = {"begin": SIGN_IN, "end": SIGN_OUT}.get(verb, OTHER) if is_session else ACTIVITIES.get(verb, OTHER)
    user_type = SYSTEM_USER if entry.actor_kind in {ActorKind.TOKEN, ActorKind.SYSTEM} else USER
    user = {"name": entry.actor_name or entry.actor_kind.value, "uid": entry.actor_id, "type_id": user_type}
    common: dict[str, object] = {
        "class_uid": class_uid,
        "category_uid": class_uid // 1000,
        "activity_id": activity_id,
        "type_uid": class_uid * 100 + activity_id,
        "time": entry.at_ns // 1_000_000,
        "severity_id": _severity(entry),
        "status_id": STATUSES[entry.outcome],
        "message": entry.detail or entry.action,
        "metadata": {
            "version": OCSF_VERSION,
            "uid": entry.chain,
            "sequence": entry.seq,
            "product": {"name": "Molecatcher", "vendor_name": "Molecatcher", "version": version},
        },
        "src_endpoint": {"ip": entry.address, "name": entry.actor_kind.value},
        "actor": {"user": user},
        "unmapped": {"before": entry.before, "after": entry.after},
    }
    if is_session:
        return common | {"user": user, "service": {"name": "Molecatcher"}}
    api = {"operation": entry.action, "request": {"uid": entry.request_id}}
    return common | {"api": api, "resources": [{"name": entry.target}]}


def _severity(entry: AuditEntry) -> int:
    if entry.action.startswith("break-glass"):
        return HIGH
    return INFORMATIONAL if entry.outcome is AuditOutcome.DONE else MEDIUM
