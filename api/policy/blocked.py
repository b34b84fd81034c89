"""What is listed beyond the catalogue, and what no list holds, as documents."""

from api.context import ApiContext
from api.documents import document
from db.workflow.values import StoredBlocked
from rules.errors import InvalidPolicy
from rules.policy.overlay import read_blocked, read_never_blocked
from rules.policy.policy import Blocked, PolicyOrigin


def blocked_documents(context: ApiContext) -> list[dict[str, object]]:
    """Return every entry of our own as a document: the policy file's first, then those made over the API."""
    return _documents(context, context.ruleset().policy.blocked, is_never=False)


def never_blocked_documents(context: ApiContext) -> list[dict[str, object]]:
    """Return every entry that is kept off the lists as a document, in the same order."""
    return _documents(context, context.ruleset().policy.never_blocked, is_never=True)


def _documents(context: ApiContext, in_force: tuple[Blocked, ...], *, is_never: bool) -> list[dict[str, object]]:
    in_file = [_file_document(row, context.now_ns()) for row in in_force if row.origin is PolicyOrigin.FILE]
    return [*in_file, *(blocked_document(row, context) for row in context.store.policy.blocked(is_never=is_never))]


def blocked_document(row: StoredBlocked, context: ApiContext) -> dict[str, object]:
    """Return an entry that was made over the API as a document."""
    now_ns, policy = context.now_ns(), context.ruleset().policy
    active = policy.active_never_blocked(now_ns) if row.is_never else policy.active_blocked(now_ns)
    members = document(row)
    del members["is_never"]
    is_in_force = _what(row, context) in {known.what for known in active}
    return members | {"origin": PolicyOrigin.DATABASE, "is_in_force": is_in_force}


def _what(row: StoredBlocked, context: ApiContext) -> object:
    """Return what an entry means, None where it cannot be used any more."""
    rules, table, now_ns = context.ruleset(), row.to_table(), context.now_ns()
    try:
        if row.is_never:
            return read_never_blocked(table, rules.catalogue, now_ns).what
        return read_blocked(table, rules.policy.sanctions, rules.catalogue, now_ns).what
    except InvalidPolicy:
        return None


def _file_document(row: Blocked, now_ns: int) -> dict[str, object]:
    return {
        "entry_id": None,
        "origin": row.origin,
        "is_in_force": row.is_active(now_ns),
        "entry": row.entry,
        "owner": row.owner,
        "reason": row.reason,
        "expires": row.expires,
        "created_by": None,
        "created_at": None,
    }
