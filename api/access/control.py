"""Finds out who a request comes from, and whether it may change things the way it does."""

import hmac
from threading import BoundedSemaphore
from urllib.parse import urlsplit

import msgspec
import structlog
from starlette.requests import Request

from api.access import break_glass
from api.access.addresses import NOWHERE, client_address, parse_address
from api.access.config import AccessConfig
from api.access.credentials import Credentials
from api.access.presented import has_credential, presented_token
from api.access.principal import LOCAL, Principal, of_session, of_token
from api.access.rates import Rates
from api.access.sessions import COOKIE, Sessions, csrf_of
from api.access.table import Area, Rule
from api.problems import Kind, Problem
from api.requests.forms import form_of
from api.serving.slow_clients import PEER_CERTIFICATE
from api.times import NS_PER_S
from db.access.values import Session
from db.errors import DbError

RETRY_AFTER_S = 30
CHALLENGE = {"WWW-Authenticate": 'Basic realm="molecatcher", charset="UTF-8", Bearer realm="molecatcher"'}
PAGE_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="molecatcher"'}  # with Basic, browsers would ask for a password
FORWARDED = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip", "via")
OTHER_SITES = ("cross-site", "same-site")
OUR_TOKENS = "mc_"

log = structlog.get_logger("api")


class AccessControl:
    """Judges requests by tokens, sessions and the access configuration."""

    def __init__(self, config: AccessConfig, credentials: Credentials, sessions: Sessions) -> None:
        self.config = config
        self.credentials = credentials
        self.sessions = sessions
        self.rates = Rates(config.limits.known, config.limits.unknown)
        self.tries = Rates(break_glass.TRIES, break_glass.TRIES)
        self.trying = BoundedSemaphore(break_glass.AT_ONCE)

    def change(self, config: AccessConfig) -> None:
        """Judge by another configuration from now on; counts of requests begin anew where their limits changed.

        Sessions to which it gives no role end.
        """
        if config.limits != self.config.limits:
            self.rates = Rates(config.limits.known, config.limits.unknown)
        self.sessions.config = config.sessions
        self.config = config
        try:
            self._end_without_role()
        except DbError as error:  # each ends when it is used
            log.info("sessions_not_ended", reason=str(error))

    def _end_without_role(self) -> None:
        for session in self.sessions.open():
            if self.config.role_of(session) is None:
                self.sessions.end_without_role(session)

    def is_in_memory(self, request: Request) -> bool:
        """Tell whether `identify` needs no database now: sessions do, and tokens once a second."""
        return "cookie" not in request.headers and self.credentials.is_current

    def identify(self, request: Request, rule: Rule) -> Principal:
        """Return who a request comes from.

        From an address that the policy of the rule's area refuses, or without a certificate where one is needed, the
        same is done and nobody is known.

        Raises:
            Problem: nobody that is known, or that cannot be found out now.
        """
        address = client_address(request)
        where = address if self._is_let_in(request, rule, address) else NOWHERE
        path_token = request.path_params.get("token", "") if rule.area is Area.FEEDS else ""
        if self._has_credential(request, rule, path_token):
            return self._holder(request, where, path_token, rule)
        if where and (cookie := request.cookies.get(COOKIE)):
            session = self._session(cookie)
            if session is not None:
                return of_session(session)
        if where and self.trusts(request):
            return LOCAL
        raise _unknown(rule)

    def _session(self, cookie: str) -> Session | None:
        """Return the session of a cookie with its role of now, None when it is over; without a role it ends."""
        session = self.sessions.find(cookie)
        if session is None:
            return None
        role = self.config.role_of(session)
        if role is None:
            self.sessions.end_without_role(session)
            return None
        return msgspec.structs.replace(session, role=role)

    def trusts(self, request: Request) -> bool:
        """Tell whether a request without credentials is taken for one of this host.

        One that a proxy passed on is not: whoever reaches the proxy could have sent it.
        """
        if not self.config.trusts_loopback or not request.app.state.trusts_loopback:
            return False
        address = parse_address(client_address(request))
        return address is not None and address.is_loopback and not self.is_forwarded(request)

    def is_forwarded(self, request: Request) -> bool:
        """Tell whether a proxy passed a request on, whatever it says of where it came from."""
        return any(name in request.headers for name in FORWARDED)

    def require_address(self, request: Request, rule: Rule) -> None:
        """Return when a request of this rule may come from where it comes.

        Raises:
            Problem: it may not; the same as for somebody unknown.
        """
        if not self._is_let_in(request, rule, client_address(request)):
            raise _unknown(rule)

    async def require_own_site(self, request: Request, principal: Principal) -> None:
        """Return when a request that changes something was sent on purpose, not by another site's page.

        Raises:
            Problem: it was not.
        """
        self.require_same_origin(request)  # of tokens too: browsers send those that were typed in (HTTP Basic) again
        if principal.session is not None:
            expected = csrf_of(request.cookies[COOKIE])
            given = request.headers.get("x-csrf-token") or await _form_value(request, "csrf")
            if not hmac.compare_digest(expected.encode(), given.encode()):
                raise Problem(Kind.OTHER_SITE, "Send X-CSRF-Token as /v1/me says it; it belongs to your session.")

    def require_same_origin(self, request: Request) -> None:
        """Return when a request was not sent by another site's page, as far as browsers say.

        Raises:
            Problem: it was.
        """
        origin = request.headers.get("origin")
        is_foreign = origin is not None and urlsplit(origin).netloc != request.headers.get("host")
        if is_foreign or request.headers.get("sec-fetch-site") in OTHER_SITES:
            raise Problem(Kind.OTHER_SITE, "Send it from this server's own page, or without Origin from a program.")

    def require_fresh(self, principal: Principal) -> None:
        """Return when somebody may do what is dangerous: a person must have signed in just now (RFC 9470).

        Raises:
            Problem: it was too long ago, or not strong enough.
        """
        session, step_up = principal.session, self.config.step_up
        if session is None:
            return
        age_ns = self.sessions.now_ns() - session.authenticated_at_ns
        is_strong = not step_up.acr or session.acr in step_up.acr or session.issuer == break_glass.ISSUER
        if age_ns <= step_up.max_age_s * NS_PER_S and is_strong:
            return
        words = ['error="insufficient_user_authentication"', 'error_description="Sign in again for this"']
        words += [f'acr_values="{" ".join(step_up.acr)}"'] if step_up.acr else []
        challenge = f"Bearer {', '.join(words)}, max_age={step_up.max_age_s}"
        detail = "Sign in again at /sign-in?step_up=1 and repeat it within a few minutes."
        raise Problem(Kind.STEP_UP, detail, {"WWW-Authenticate": challenge})

    def _is_let_in(self, request: Request, rule: Rule, address: str) -> bool:
        has_certificate = bool(getattr(request.state, PEER_CERTIFICATE, ""))
        return self.config.takes(rule.area, address) and (
            has_certificate or not self.config.needs_certificate(rule.area)
        )

    def _has_credential(self, request: Request, rule: Rule, path_token: str) -> bool:
        """Tell whether a request tries to say who it comes from.

        CrowdSec's bouncers always send a key; on trusted loopback a word of their own only tells them apart.
        """
        word = request.headers.get("x-api-key", OUR_TOKENS)
        is_bouncer = rule.area is Area.FEEDS and "authorization" not in request.headers and not path_token
        if is_bouncer and not word.startswith(OUR_TOKENS) and self.trusts(request):
            return not request.url.path.startswith(("/v1/decisions", "/v1/usage-metrics"))
        return has_credential(request.headers, path_token)

    def _holder(self, request: Request, where: str, path_token: str, rule: Rule) -> Principal:
        if not self.credentials.is_ready:
            detail = (
                "Keep the list you have and ask again: no token is known here. `molecatcher token create` makes one."
            )
            raise Problem(Kind.CREDENTIALS_UNAVAILABLE, detail, {"Retry-After": str(RETRY_AFTER_S)})
        token = self.credentials.holder(presented_token(request.headers, path_token), where)
        if token is None:
            raise _unknown(rule)
        return of_token(token)


def _unknown(rule: Rule) -> Problem:
    challenge = PAGE_CHALLENGE if rule.area is Area.PAGE else CHALLENGE
    return Problem(Kind.NOT_KNOWN, "Give a token of this server, or sign in, from an address that may.", challenge)


async def _form_value(request: Request, name: str) -> str:
    if not request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        return ""
    return (await form_of(request)).get(name, "")
