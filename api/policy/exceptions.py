"""Exceptions as documents: those of the policy file, and those made over the API."""

from api.context import ApiContext
from api.documents import document
from db.workflow.values import ExceptionStatus, StoredException
from rules.policy.policy import PolicyException, PolicyOrigin
from rules.policy.who import TABLE_KEYS


def exception_document(row: StoredException, context: ApiContext) -> dict[str, object]:
    """Return an exception that was made over the API as a document."""
    in_force = {known.id for known in context.ruleset().policy.exceptions if known.is_active(context.now_ns())}
    extra = {"origin": PolicyOrigin.DATABASE, "is_in_force": row.exception_id in in_force}
    return document(row) | extra


def exceptions_of_file(context: ApiContext, service: str | None = None) -> list[dict[str, object]]:
    """Return the policy file's exceptions as documents."""
    now_ns = context.now_ns()
    rows = (row for row in context.ruleset().policy.exceptions if row.origin is PolicyOrigin.FILE)
    return [_file_document(row, now_ns) for row in rows if service in {None, row.service}]


def _file_document(row: PolicyException, now_ns: int) -> dict[str, object]:
    named = dict(row.who)
    nobody = dict.fromkeys(("requested_by", "requested_at", "decided_by", "decided_at", "ended_by", "ended_at"))
    return {
        "exception_id": row.id,
        "origin": row.origin,
        "status": ExceptionStatus.ACTIVE,
        "is_in_force": row.is_active(now_ns),
        "service": row.service,
        "sources": list(map(str, row.sources)),
        **{shown: sorted(named.get(name, ())) for name, shown in TABLE_KEYS.items()},
        "owner": row.owner,
        "reason": row.reason,
        "expires": row.expires,
        **nobody,
    }
