"""Sign-in and sign-out of people: pages that tell nothing of anybody."""

from typing import Annotated
from urllib.parse import urlencode

import structlog
from fastapi import APIRouter, Query
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from api.access import break_glass
from api.access.addresses import client_address, parse_address
from api.access.audit import audit
from api.access.gate import access_of
from api.access.oidc import COOKIE, MAX_COOKIE, SIGN_IN_S, Identity, OidcClient, local_target
from api.access.principal import Principal, principal_of
from api.access.refusals import note_refusal
from api.access.sessions import COOKIE as SESSION_COOKIE
from api.access.sessions import clear_cookie, csrf_of, set_cookie
from api.context import ApiContext
from api.dependencies import Context
from api.errors import RefusedLogout, RefusedSignIn, UnprovenSignIn
from api.problems import Kind, Problem
from api.requests.forms import form_of
from db.access.values import AccessRole, Account, ActorKind, AuditOutcome, Session
from db.workflow.values import Answered

NO_STORE = {"Cache-Control": "no-store"}
FORBIDDEN, UNAUTHORIZED = 403, 401
TAKEN = 200
WRONG = "Name or password is wrong, or this account may not be used from here."

router = APIRouter(include_in_schema=False)
Target = Annotated[str, Query(alias="next", max_length=2000)]
log = structlog.get_logger("api")


@router.get("/sign-in")
def get_sign_in(request: Request, target: Target = "/", step_up: bool = False) -> HTMLResponse:
    """Return the page that leads to the provider, or asks for the break-glass password."""
    return _sign_in_page(request, local_target(target), step_up=step_up)


@router.get("/sign-in/oidc")
def begin_sign_in(request: Request, target: Target = "/", step_up: bool = False) -> Response:
    """Send the browser to the provider."""
    try:
        url, cookie = _provider(request).begin(local_target(target), is_step_up=step_up)
    except RefusedSignIn as refused:
        return _refused(request, refused)
    response = RedirectResponse(url, 303, NO_STORE)
    response.set_cookie(COOKIE, cookie, max_age=SIGN_IN_S, path="/", secure=True, httponly=True, samesite="lax")
    return response


@router.get("/sign-in/callback")
def end_sign_in(request: Request) -> Response:
    """Take the provider's answer, and begin a session if it proves enough."""
    try:
        identity, target = _provider(request).finish(request.query_params, request.cookies.get(COOKIE, "")[:MAX_COOKIE])
        response = _begin(request, identity, target)
    except RefusedSignIn as refused:
        response = _refused(request, refused)
    response.delete_cookie(COOKIE, path="/", secure=True, httponly=True, samesite="lax")
    return response


@router.post("/sign-in/break-glass")
async def break_in(request: Request, context: Context) -> Response:
    """Begin a session of the break-glass account."""
    access_of(request).require_same_origin(request)
    access_of(request).tries.count_unknown(client_address(request))
    form = await form_of(request)
    name, password, target = (form.get(key, "") for key in ("name", "password", "next"))
    return await run_in_threadpool(_break_in, request, context, name, password, local_target(target))


def _break_in(request: Request, context: ApiContext, name: str, password: str, target: str) -> Response:
    account, address = context.store.account(name), parse_address(client_address(request))
    is_here = address is not None and address.is_loopback and not access_of(request).is_forwarded(request)
    is_good = _is_good(request, account, password, is_here=is_here)
    subject = f"{break_glass.ISSUER}:{account.name if account else ''}"
    actor = Principal(ActorKind.PERSON, subject, break_glass.ISSUER)
    if account is None or not is_good:
        audit(request, "break-glass.refused", "", outcome=AuditOutcome.REFUSED, principal=actor)
        log.error("break_glass_refused", address=client_address(request))
        return _sign_in_page(request, target, WRONG, UNAUTHORIZED)
    audit(request, "break-glass.begin", account.name, principal=actor)
    log.error("break_glass_used", account=account.name, address=client_address(request))
    request.app.state.break_glass_uses.inc()
    context.store.touch_account(account.name, context.now_ns())
    how = (("pwd",), "", context.now_ns())
    return _begin(request, Identity(break_glass.ISSUER, subject, account.name, AccessRole.ADMIN, *how), target)


def _is_good(request: Request, account: Account | None, password: str, *, is_here: bool) -> bool:
    if not break_glass.is_possible(request.app.state.context.store.accounts(), is_loopback=is_here):
        return False
    trying = access_of(request).trying
    if not trying.acquire(blocking=False):
        raise Problem(Kind.BUSY, "Others are trying to sign in: try again.", {"Retry-After": "1"})
    try:
        return break_glass.is_good(account, password, is_loopback=is_here)
    finally:
        trying.release()


@router.post("/sign-in/back-channel-logout")
async def take_logout(request: Request) -> Response:
    """End the sessions that the provider says are over (OpenID Connect Back-Channel Logout 1.0)."""
    form = await form_of(request)
    return await run_in_threadpool(_take_logout, request, form.get("logout_token", ""))


def _take_logout(request: Request, token: str) -> Response:
    provider, context = _provider(request), request.app.state.context
    try:
        told, issuer = provider.told_over(token), provider.config.issuer
        _require_new(context, issuer, told.token_id)
    except (RefusedSignIn, RefusedLogout) as refused:
        log.warning("logout_refused", reason=str(refused), address=client_address(request))
        access_of(request).rates.count_unknown(client_address(request))
        raise Problem(Kind.BAD_REQUEST, f"Nobody was signed out: {refused}.") from None
    actor = Principal(ActorKind.SYSTEM, issuer, issuer)
    for session in context.store.sessions_of(issuer, told.subject, told.sid, context.now_ns()):
        audit(request, "session.end", session.session_id, principal=actor, detail="the provider says it is over")
        access_of(request).sessions.end(session)
    context.store.answered.finish(f"logout:{issuer}", told.token_id, Answered(b"", 0, TAKEN, {}, b""))
    return Response(status_code=TAKEN, headers=NO_STORE)


def _require_new(context: ApiContext, issuer: str, token_id: str) -> None:
    """Return when no logout token of this id was taken within a day, nor one that failed here within a minute.

    Raises:
        RefusedLogout: one was.
    """
    if context.store.answered.begin(f"logout:{issuer}", token_id, b"", context.now_ns()) is not None:
        raise RefusedLogout("the logout token was used before")


@router.get("/sign-out")
def get_sign_out(request: Request) -> HTMLResponse:
    """Return the page with the button that ends a session."""
    who = principal_of(request)
    csrf = csrf_of(request.cookies[SESSION_COOKIE]) if who.session else ""
    return _page(request, "sign_out.html", who=who, csrf=csrf)


@router.post("/sign-out")
def end_session(request: Request) -> HTMLResponse:
    """End the session of whoever asks."""
    who, control = principal_of(request), access_of(request)
    if who.session is not None:
        audit(request, "session.end", who.session.session_id)
        control.sessions.end(who.session)
    provider: OidcClient | None = request.app.state.oidc
    response = _page(request, "signed_out.html", provider=provider.end_address() if provider else None)
    clear_cookie(response)
    return response


def _begin(request: Request, identity: Identity, target: str) -> Response:
    """Begin a session and send the browser on."""
    actor = Principal(ActorKind.PERSON, identity.subject, identity.name)
    session = Session(
        digest=b"",
        session_id="",
        issuer=identity.issuer,
        subject=identity.subject,
        name=identity.name,
        role=identity.role,
        amr=identity.amr,
        acr=identity.acr,
        address=client_address(request),
        authenticated_at_ns=identity.authenticated_at_ns,
        created_at_ns=0,
        used_at_ns=0,
        expires_at_ns=0,
        provider_sid=identity.sid,
        provider_groups=identity.groups,
    )
    detail = f"{identity.role} {' '.join(identity.amr)}"
    audit(request, "session.begin", identity.issuer, principal=actor, detail=detail)
    control = access_of(request)
    if old := control.sessions.find(request.cookies.get(SESSION_COOKIE, "")):
        control.sessions.end(old)  # a new proof, a new cookie
    response = RedirectResponse(target, 303, NO_STORE)
    set_cookie(response, control.sessions.begin(session))
    return response


def _provider(request: Request) -> OidcClient:
    provider: OidcClient | None = request.app.state.oidc
    if provider is None:
        raise Problem(Kind.NOT_FOUND, "No OpenID provider is set up: docs/security.md says how.")
    return provider


def _refused(request: Request, refused: RefusedSignIn) -> Response:
    log.warning("sign_in_refused", reason=str(refused), address=client_address(request))
    access_of(request).rates.count_unknown(client_address(request))
    if isinstance(refused, UnprovenSignIn):
        actor = Principal(ActorKind.PERSON, refused.subject, refused.name)
        note_refusal(request, "session.begin", refused.issuer, principal=actor, detail=str(refused))
    return _page(request, "not_allowed.html", FORBIDDEN, reason=str(refused))


def _sign_in_page(
    request: Request, target: str, wrong: str = "", status: int = 200, *, step_up: bool = False
) -> HTMLResponse:
    query = urlencode({"next": target} | ({"step_up": "1"} if step_up else {}))
    has_account = bool(request.app.state.context.store.accounts())
    values = {"query": query, "target": target, "wrong": wrong, "step_up": step_up, "has_account": has_account}
    return _page(request, "sign_in.html", status, has_provider=request.app.state.oidc is not None, **values)


def _page(request: Request, template: str, status: int = 200, **values: object) -> HTMLResponse:
    text: str = request.app.state.templates.render(template, **values)
    return HTMLResponse(text, status, NO_STORE)
