"""Writes the audit log: every change, and every look at evidence. It holds digests of values, never values."""

import hashlib

import msgspec
import structlog
from starlette.requests import Request

from api.access.control import client_address
from api.access.principal import Principal, principal_of
from api.streaming import REQUEST_ID
from db.access_values import ActorKind, AuditEntry, AuditOutcome
from db.store import Store

MAX_TEXT = 500

log = structlog.get_logger("audit")


def audit(
    request: Request,
    action: str,
    target: str,
    *,
    before: object = None,
    after: object = None,
    detail: str = "",
    outcome: AuditOutcome = AuditOutcome.DONE,
    principal: Principal | None = None,
) -> None:
    """Keep who did `action` (`token.create`) on `target`, and digests of what stood there before and after.

    `before` and `after` are what msgspec can encode, None for nothing. `principal` is for requests that have none yet,
    such as a sign-in.

    Raises:
        DbError: it was not written; then what it is about must not happen either.
    """
    who = principal or principal_of(request)
    context = request.app.state.context
    entry = AuditEntry(
        at_ns=context.now_ns(),
        actor_kind=who.kind,
        actor_id=who.id,
        actor_name=who.name[:MAX_TEXT],
        address=client_address(request),
        action=action,
        target=target[:MAX_TEXT],
        outcome=outcome,
        before=digest_of(before),
        after=digest_of(after),
        detail=detail[:MAX_TEXT],
        request_id=request.scope.get(REQUEST_ID, ""),
    )
    keep(context.store, entry)


def audit_local(store: Store, now_ns: int, user: str, action: str, target: str) -> None:
    """Keep what somebody did at this host's command line."""
    entry = AuditEntry(
        at_ns=now_ns,
        actor_kind=ActorKind.LOCAL,
        actor_id=user,
        actor_name=user,
        address="command line",
        action=action,
        target=target,
    )
    store.add_audit(entry)


def keep(store: Store, entry: AuditEntry) -> None:
    """Write an entry to the database, and to the log for whoever collects that."""
    kept = store.add_audit(entry)
    log.info("audit", **{name: value for name, value in msgspec.to_builtins(kept).items() if value not in {"", 0}})


def digest_of(value: object) -> str:
    """Return what the log keeps of a value: SHA-256 of its JSON, "" for nothing."""
    if value is None:
        return ""
    return hashlib.sha256(msgspec.json.encode(value, order="sorted")).hexdigest()
