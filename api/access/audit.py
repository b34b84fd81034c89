"""Writes the audit log: every change, and every look at evidence. It holds digests of values, and few of the values."""

from collections.abc import Callable
from http import HTTPStatus

import msgspec
import structlog
from starlette.requests import Request

from api.access.addresses import client_address
from api.access.principal import Principal, principal_of
from api.serving.streaming import REQUEST_ID
from db.access.audit import MAX_TEXT, Act, digest_of
from db.access.values import ActorKind, AuditEntry, AuditOutcome
from db.store import Store

ACT = "molecatcher.act"

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
    entry = msgspec.structs.replace(
        entry_of(request, principal or principal_of(request), action, target),
        outcome=outcome,
        before=digest_of(before),
        after=digest_of(after),
        detail=detail[:MAX_TEXT],
    )
    keep(request.app.state.context.store, entry)


def begin_act(request: Request, principal: Principal, action: str, target: str, *, is_noted: bool = False) -> Act:
    """Return the act on behalf of which the handler's store notes each change with the change itself.

    `target` is for when nothing comes of it; a change names its own. `end_act` says what came of it, `is_noted` that an
    entry says already that it happens.
    """
    act = request.scope[ACT] = Act(entry_of(request, principal, action, target), is_noted)
    return act


def end_act(store: Store, act: Act, status: int, refuse: Callable[[AuditEntry], None]) -> None:
    """Write to the log what an act changed; one that was refused or failed is kept with the answer's status.

    `refuse` keeps it where no entry says that it happens, and may sum such acts.
    """
    log_changes(act)
    if status >= HTTPStatus.BAD_REQUEST and not act.kept:
        is_failure = status >= HTTPStatus.INTERNAL_SERVER_ERROR
        outcome = AuditOutcome.FAILED if is_failure else AuditOutcome.REFUSED
        entry = msgspec.structs.replace(act.entry, outcome=outcome, detail=f"answered {status}")
        if act.is_noted:
            keep(store, entry)
        else:
            refuse(entry)


def log_changes(act: Act) -> None:
    """Write to the log what an act changed."""
    for kept in act.kept:
        _log(kept)


def entry_of(request: Request, who: Principal, action: str, target: str) -> AuditEntry:
    """Return the entry of what `who` does with this request, of which nothing has come yet."""
    return AuditEntry(
        at_ns=request.app.state.context.now_ns(),
        actor_kind=who.kind,
        actor_id=who.id,
        actor_name=who.name[:MAX_TEXT],
        address=client_address(request),
        action=action,
        target=target[:MAX_TEXT],
        request_id=request.scope.get(REQUEST_ID, ""),
    )


def access_file_entry(now_ns: int, action: str, target: str) -> AuditEntry:
    """Return the entry of what a changed access file does: the program cannot know who wrote it."""
    return AuditEntry(
        at_ns=now_ns,
        actor_kind=ActorKind.SYSTEM,
        actor_id="access-file",
        actor_name="the access file",
        action=action,
        target=target,
    )


def local_act(now_ns: int, user: str, action: str, target: str) -> Act:
    """Return the act of somebody at this host's command line; a store on behalf of it notes what it changes."""
    return Act(
        AuditEntry(
            at_ns=now_ns,
            actor_kind=ActorKind.LOCAL,
            actor_id=user,
            actor_name=user,
            address="command line",
            action=action,
            target=target,
        )
    )


def keep(store: Store, entry: AuditEntry) -> None:
    """Write an entry to the database, and to the log for whoever collects that."""
    _log(store.add_audit(entry))


def _log(kept: AuditEntry) -> None:
    log.info("audit", **{name: value for name, value in msgspec.to_builtins(kept).items() if value not in {"", 0}})
