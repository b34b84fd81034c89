"""The gate in front of every route: who asks, and may they?

Wrong secret, unknown token, wrong address, expired and revoked are one answer. It is never given because the database
is away: then there is 503, on which firewalls keep the list they have.
"""

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from api.access.audit import audit
from api.access.control import AccessControl, client_address
from api.access.credentials import may_read_feed
from api.access.principal import NOBODY, Principal, principal_of
from api.access.table import rule_of
from api.problems import Kind, Problem
from api.streaming import ANSWER_HEADERS
from db.values import AuditOutcome

SAFE_METHODS = ("GET", "HEAD")


async def authorize(request: Request) -> None:
    """Let a request pass to its handler, which finds in `principal_of` who it comes from.

    Raises:
        Problem: nobody we know, or somebody who may not, or not in this way.
    """
    rule = rule_of(request)
    request.state.principal = NOBODY
    if rule.is_open:
        return
    control = access_of(request)
    try:
        principal = await run_in_threadpool(control.identify, request, rule)
    except Problem as problem:
        if problem.kind is Kind.NOT_KNOWN:
            control.rates.count_unknown(client_address(request))
        raise
    request.state.principal = principal
    request.scope[ANSWER_HEADERS] = control.rates.count(principal)
    if not principal.may(rule):
        if request.method not in SAFE_METHODS:
            await run_in_threadpool(audit, request, "access.refused", request.url.path, outcome=AuditOutcome.REFUSED)
        raise Problem(Kind.NOT_ALLOWED, "Ask somebody who may, or for a role or token that is for this.")
    if request.method not in SAFE_METHODS:
        await control.require_own_site(request, principal)
    if rule.is_dangerous:
        control.require_fresh(principal)


def access_of(request: Request) -> AccessControl:
    """Return what judges requests here."""
    control: AccessControl = request.app.state.access
    return control


def require_feed(request: Request, list_name: str) -> None:
    """Return when this list is open to whoever asks.

    Raises:
        Problem: the token was made for something else.
    """
    if not is_open_to(principal_of(request), list_name):
        raise Problem(Kind.NOT_ALLOWED, "Ask for the list that this token was made for, or make another token.")


def is_open_to(principal: Principal, list_name: str) -> bool:
    """Tell whether a list is open to whoever asks; people may read every list."""
    return principal.token is None or may_read_feed(principal.token, list_name, None)
