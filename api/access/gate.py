"""The gate in front of every route: who asks, and may they?

Wrong secret, unknown token, wrong address, expired and revoked are one answer. It is never given because the database
is away: then there is 503, on which firewalls keep the list they have.
"""

from functools import partial

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from api.access.addresses import client_address
from api.access.audit import audit, begin_act
from api.access.config import AccessConfig
from api.access.control import AccessControl
from api.access.credentials import may_read_feed
from api.access.principal import NOBODY, Principal, principal_of
from api.access.refusals import note_refusal
from api.access.table import ACTIONS, DEEDS, Rule, rule_of
from api.caller import SCOPE_KEY, Caller
from api.problems import Kind, Problem
from api.serving.streaming import ANSWER_HEADERS
from db.access.values import ActorKind, Token
from db.errors import DbError
from rules.policy.profiles import DEFAULT_PROFILE

SAFE_METHODS = ("GET", "HEAD")


async def authorize(request: Request) -> None:
    """Let a request pass to its handler, which finds in `principal_of` who it comes from.

    Raises:
        Problem: nobody we know, or somebody who may not, or not in this way.
    """
    rule = rule_of(request)
    request.state.principal = NOBODY
    control = access_of(request)
    if rule.is_door:
        control.require_address(request, rule)
    if rule.is_open:
        return
    principal = await _identify(request, rule, control)
    request.state.principal = principal
    if principal.kind is not ActorKind.LOCAL:
        request.scope[SCOPE_KEY] = _caller(principal, control.config)
    request.scope[ANSWER_HEADERS] = control.rates.count(principal)
    try:
        await _require_right(request, rule, principal, control)
    except Problem as problem:
        is_look = request.method in SAFE_METHODS
        if not is_look or rule.is_sensitive:
            detail = "" if problem.kind is Kind.NOT_ALLOWED else problem.kind.title
            note = partial(note_refusal, principal=principal, detail="a look" if is_look else detail)
            await run_in_threadpool(note, request, "access.refused", request.url.path)
        raise
    target = "/".join(map(str, request.path_params.values()))
    if action := ACTIONS.get(f"{request.method} {request.scope['route'].path}"):
        begin_act(request, principal, action, target)
    elif deed := DEEDS.get(f"{request.method} {request.scope['route'].path}"):
        await run_in_threadpool(audit, request, deed, target)  # first: what cannot be noted does not happen
        begin_act(request, principal, deed, target, is_noted=True)


async def _require_right(request: Request, rule: Rule, principal: Principal, control: AccessControl) -> None:
    """Return when somebody may do what they ask for, in the way they ask for it.

    Raises:
        Problem: they may not, another site's page may have sent it, or their sign-in is not fresh enough.
    """
    if not principal.may(rule):
        raise Problem(Kind.NOT_ALLOWED, "Ask somebody who may, or for a role or token that is for this.")
    if request.method not in SAFE_METHODS:
        await control.require_own_site(request, principal)
    if rule.is_dangerous:
        control.require_fresh(principal)


async def is_still_known(request: Request) -> bool:
    """Tell whether whoever a long answer goes to would be let in again: a token or session may have ended meanwhile.

    While that cannot be found out, it is taken to be so.
    """
    rule = rule_of(request)
    try:
        return (await _find(request, rule, access_of(request))).may(rule)
    except Problem as problem:
        return problem.kind is not Kind.NOT_KNOWN
    except DbError:
        return True


async def _find(request: Request, rule: Rule, control: AccessControl) -> Principal:
    if control.is_in_memory(request):  # a change of threads costs more than to look
        return control.identify(request, rule)
    return await run_in_threadpool(control.identify, request, rule)


async def _identify(request: Request, rule: Rule, control: AccessControl) -> Principal:
    try:
        return await _find(request, rule, control)
    except Problem as problem:
        if problem.kind is Kind.NOT_KNOWN:
            control.rates.count_unknown(client_address(request))
        raise


def _caller(principal: Principal, config: AccessConfig) -> Caller:
    """Return how history calls whoever asks; two people are never called the same."""
    name = f"{principal.name} ({principal.id})"
    return Caller(name, sees_names=principal.role not in config.pseudonyms)


def access_of(request: Request) -> AccessControl:
    """Return what judges requests here."""
    control: AccessControl = request.app.state.access
    return control


def require_feed(token: Token | None, list_name: str, profile: str) -> None:
    """Return when this list in this profile is open to the holder of a token, or to all (None).

    Raises:
        Problem: the token was made for something else.
    """
    if not is_open_to(token, list_name, profile):
        detail = "Ask for the list and profile that this token was made for, or make another token."
        raise Problem(Kind.NOT_ALLOWED, detail)


def is_open_to(token: Token | None, list_name: str, profile: str) -> bool:
    """Tell whether a list in a profile is open to the holder of a token, or to all (None)."""
    return token is None or may_read_feed(token, list_name, profile)


def profile_of(request: Request, token: Token | None, asked: str | None = None) -> str:
    """Return the profile that is asked for, else the one that the token was made for, else the default one.

    Raises:
        Problem: there is none of that name (any more).
    """
    context = request.app.state.context
    profile = asked or (token.profile if token else None) or DEFAULT_PROFILE
    known = [row.name for row, _is_in_use in context.profiles()]
    if profile not in known:
        raise Problem(Kind.NOT_FOUND, f"The profiles are {', '.join(known)}.")
    if token is None or token.profile in (None, profile):
        context.use_profile(profile)
    return str(profile)


def holder_of(request: Request) -> Token | None:
    """Return the token of a request, None when somebody else asks, who may read every list."""
    return principal_of(request).token
