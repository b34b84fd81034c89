"""Sanctioned ingresses as documents: those of the policy file, and those made over the API."""

from api.context import ApiContext
from api.documents import document
from db.workflow.values import ExceptionStatus, StoredSanction
from rules.policy.policy import PolicyOrigin, Sanction


def ingress_documents(context: ApiContext) -> list[dict[str, object]]:
    """Return every sanctioned ingress as a document: the policy file's first."""
    now_ns = context.now_ns()
    in_file = [row for row in context.ruleset().policy.sanctions if row.origin is PolicyOrigin.FILE]
    stored = context.store.policy.sanctions()
    return [*(_file_document(row, now_ns) for row in in_file), *(ingress_document(row, context) for row in stored)]


def ingress_document(row: StoredSanction, context: ApiContext) -> dict[str, object]:
    """Return an ingress that was sanctioned over the API as a document."""
    in_force = {known.id for known in context.ruleset().policy.active_sanctions(context.now_ns())}
    return document(row) | {"origin": PolicyOrigin.DATABASE, "is_in_force": row.sanction_id in in_force}


def _file_document(row: Sanction, now_ns: int) -> dict[str, object]:
    nobody = dict.fromkeys(("requested_by", "requested_at", "decided_by", "decided_at"))
    return {
        "sanction_id": None,
        "origin": row.origin,
        "status": ExceptionStatus.ACTIVE,
        "is_in_force": row.is_active(now_ns),
        "domain": row.domain,
        "service": row.service,
        "addresses": list(map(str, row.addresses)),
        "owner": row.owner,
        "reason": row.reason,
        "expires": row.expires,
        **nobody,
    }
