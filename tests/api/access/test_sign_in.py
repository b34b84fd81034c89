"""People sign in through a real OpenID provider, or with the break-glass account; what proves too little is refused."""

import re
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from access_server import serving
from free_ports import free_port
from identity_provider import SECRET, Browser, IdentityProvider, identity_provider, needs_provider
from installation import SECOND_NS, Installation

from api.access import break_glass
from api.access.config import AccessConfig, MfaConfig, OidcConfig, StepUpConfig
from api.access.oidc import local_target
from api.access.sessions import COOKIE
from api.app import create_app
from db.access.values import AccessRole, Account, AuditFilter, AuditOutcome

ALICE = {"sub": "u-1", "name": "alice@example.com", "groups": ["soc", "net-admins"], "amr": ["pwd", "mfa"]}
ROLES = {"soc": AccessRole.ANALYST, "net-admins": AccessRole.ADMIN, "everyone": AccessRole.VIEWER}
PASSWORD = break_glass.new_password()


@dataclass(frozen=True, slots=True)
class Place:
    """A server that people sign in to, its provider, and the browser of one of them."""

    url: str
    provider: IdentityProvider
    browser: Browser
    installation: Installation


@pytest.fixture
def place(installation: Installation, tmp_path: Path) -> Iterator[Place]:
    installation.now_ns = time.time_ns()
    port = free_port()
    public_url = f"http://127.0.0.1:{port}"
    secret = tmp_path / "client_secret"
    secret.write_text(SECRET)
    with identity_provider(f"{public_url}/sign-in/callback") as provider:
        oidc = OidcConfig(
            issuer=provider.issuer,
            client_id="molecatcher",
            client_secret_file=str(secret),
            roles=ROLES,
            scopes=("openid",),
            mfa=MfaConfig(amr=("mfa",), acr=("urn:example:gold",)),
        )
        config = AccessConfig(public_url=public_url, oidc=oidc, step_up=StepUpConfig(max_age_s=300))
        with serving(installation, config, port), closing(Browser()) as browser:
            yield Place(public_url, provider, browser, installation)


@needs_provider
def test_a_person_signs_in_works_and_signs_out(place: Place) -> None:
    place.provider.set_persona(**ALICE)
    html = {"Accept": "text/html"}
    door = place.browser.get(f"{place.url}/findings?state=open", html)
    assert door.status_code == 200
    link = re.search(r'href="(/sign-in/oidc[^"]*)"', door.text)
    assert link is not None
    page = place.browser.get(place.url + link[1].replace("&amp;", "&"))
    assert (page.status_code, page.url.path, page.url.query) == (200, "/findings", b"state=open")
    me = place.browser.get(f"{place.url}/v1/me").json()
    assert (me["kind"], me["name"], me["role"]) == ("person", "alice@example.com", "admin")
    (session,) = place.installation.store.sessions(place.installation.now_ns)
    assert (session.subject, session.amr, session.issuer) == ("u-1", ("pwd", "mfa"), place.provider.issuer)
    out = place.browser.once("GET", f"{place.url}/sign-out")
    csrf = re.search(r'name="csrf" value="([0-9a-f]+)"', out.text)
    assert csrf is not None
    cookie = dict(place.browser.cookies[urlsplit(place.url).netloc])
    assert place.browser.once("POST", f"{place.url}/sign-out", data={"csrf": "wrong"}).status_code == 403
    bye = place.browser.once("POST", f"{place.url}/sign-out", data={"csrf": csrf[1]})
    assert "signed out" in bye.text
    assert "/session/end" in bye.text
    stolen = {"Cookie": f"{COOKIE}={cookie[COOKIE]}"}
    assert httpx.get(f"{place.url}/v1/me", headers=stolen, trust_env=False, timeout=60).status_code == 401
    actions = [row.action for row in place.installation.store.audit(AuditFilter(), 9)]
    assert actions == ["session.end", "access.refused", "session.begin"]


@needs_provider
@pytest.mark.parametrize(
    ("persona", "reason"),
    [
        ({"amr": ["pwd"]}, "second factor"),
        ({"amr": None}, "second factor"),
        ({"amr": None, "acr": "urn:example:silver"}, "second factor"),
        ({"groups": ["others"]}, "none of its groups"),
        ({"groups": None}, "none of its groups"),
        ({"denies": True}, "refused"),
    ],
)
def test_who_proves_too_little_is_refused(place: Place, persona: dict[str, object], reason: str) -> None:
    place.provider.set_persona(**(ALICE | persona))
    page = place.browser.get(f"{place.url}/sign-in/oidc")
    assert page.status_code == 403
    assert reason in page.text
    assert COOKIE not in place.browser.cookies[urlsplit(place.url).netloc]
    assert place.installation.store.sessions(place.installation.now_ns) == []
    noted = place.installation.store.audit(AuditFilter(), 9)
    if "denies" in persona:
        assert noted == [], "nobody is known who could be named"
        return
    for _ in range(3):
        assert place.browser.get(f"{place.url}/sign-in/oidc").status_code == 403
    (entry,) = place.installation.store.audit(AuditFilter(), 9)
    assert (entry.action, entry.outcome, entry.target) == (
        "session.begin",
        AuditOutcome.REFUSED,
        place.provider.issuer,
    )
    assert (entry.actor_id, entry.actor_name, entry.address) == ("u-1", "alice@example.com", "127.0.0.1")
    assert reason in entry.detail


@needs_provider
@pytest.mark.parametrize(
    ("persona", "role"),
    [
        ({}, "admin"),
        ({"groups": ["soc"]}, "analyst"),
        ({"groups": "everyone"}, "viewer"),
        ({"amr": None, "acr": "urn:example:gold"}, "admin"),
    ],
)
def test_roles_come_from_groups_and_either_claim_is_enough(place: Place, persona: dict[str, object], role: str) -> None:
    place.provider.set_persona(**(ALICE | persona))
    place.browser.get(f"{place.url}/sign-in/oidc")
    assert place.browser.get(f"{place.url}/v1/me").json()["role"] == role
    (session,) = place.installation.store.sessions(place.installation.now_ns)
    named = persona.get("groups", ALICE["groups"])
    assert session.provider_groups == (tuple(named) if isinstance(named, list) else (named,))


@needs_provider
def test_a_sign_in_belongs_to_its_browser_and_its_question(place: Place) -> None:
    place.provider.set_persona(**ALICE)
    with closing(Browser()) as attacker:
        victim, begin = place.browser, f"{place.url}/sign-in/oidc"
        answer = to_callback(attacker, begin)
        assert victim.once("GET", answer).status_code == 403, "without the cookie of a sign-in"
        to_callback(victim, begin)
        assert victim.once("GET", answer).status_code == 403, "with the cookie of another one"
        assert attacker.once("GET", answer.replace("code=", "code=x")).status_code == 403
        other = httpx.URL(to_callback(attacker, begin)).copy_set_param("iss", "https://evil.example")
        assert attacker.once("GET", str(other)).status_code == 403, "from another provider"
        late = to_callback(victim, begin)
        place.installation.now_ns += 601 * SECOND_NS
        assert victim.once("GET", late).status_code == 403
    assert place.installation.store.sessions(place.installation.now_ns) == []


@needs_provider
def test_a_session_is_over_when_it_is_over_with_the_provider(place: Place) -> None:
    place.provider.set_persona(**ALICE)
    place.browser.get(f"{place.url}/sign-in/oidc")
    with closing(Browser()) as elsewhere:
        elsewhere.get(f"{place.url}/sign-in/oidc")
        end_session(place)
        assert place.browser.once("GET", f"{place.url}/v1/me").status_code == 401
        assert elsewhere.once("GET", f"{place.url}/v1/me").status_code == 200, "another session of the same person"
    (entry,) = place.installation.store.audit(AuditFilter(action="session.end"), 9)
    assert (entry.actor_id, entry.detail) == (place.provider.issuer, "the provider says it is over")


@needs_provider
def test_a_new_key_of_the_provider_is_found_within_a_minute(place: Place) -> None:
    place.provider.set_persona(**ALICE)
    begin = f"{place.url}/sign-in/oidc"
    assert place.browser.get(begin).status_code == 200
    place.provider.change_key("2")
    assert place.browser.get(begin).status_code == 403, "asked a moment ago"
    place.installation.now_ns += 55 * SECOND_NS
    assert place.browser.get(begin).status_code == 403
    place.installation.now_ns += 5 * SECOND_NS
    assert place.browser.get(begin).status_code == 200


@needs_provider
def test_a_new_key_of_the_provider_ends_sessions_too(place: Place) -> None:
    place.provider.set_persona(**ALICE)
    place.browser.get(f"{place.url}/sign-in/oidc")
    place.provider.change_key("2")
    place.installation.now_ns += 60 * SECOND_NS
    end_session(place)
    assert place.browser.once("GET", f"{place.url}/v1/me").status_code == 401


@needs_provider
def test_the_question_has_pkce_nonce_state_and_age(place: Place) -> None:
    asked = place.browser.once("GET", f"{place.url}/sign-in/oidc").headers["location"]
    query = parse_qs(urlsplit(asked).query)
    assert query["code_challenge_method"] == ["S256"]
    assert {"state", "nonce", "code_challenge", "max_age", "acr_values"} <= set(query)
    fresh = place.browser.once("GET", f"{place.url}/sign-in/oidc?step_up=1").headers["location"]
    assert parse_qs(urlsplit(fresh).query)["max_age"] == ["300"]


@needs_provider
def test_what_is_dangerous_asks_for_a_new_proof(place: Place) -> None:
    place.provider.set_persona(**ALICE)
    place.browser.get(f"{place.url}/sign-in/oidc")
    assert make_token(place) == 201
    place.installation.now_ns += 400 * SECOND_NS
    assert make_token(place) == 401
    place.installation.now_ns = time.time_ns()
    page = place.browser.get(f"{place.url}/sign-in/oidc?step_up=1&next=/policy")
    assert page.url.path == "/policy"
    assert make_token(place) == 201


def end_session(place: Place) -> None:
    """End the person's session with the provider, which tells of it."""
    form = place.browser.get(f"{place.provider.issuer}/session/end")
    secret = re.search(r'name="xsrf" value="([0-9a-f]+)"', form.text)
    assert secret is not None
    said = {"xsrf": secret[1], "logout": "yes"}
    place.browser.once("POST", f"{place.provider.issuer}/session/end/confirm", data=said)


def make_token(place: Place) -> int:
    csrf = place.browser.get(f"{place.url}/v1/me").json()["csrf_token"]
    body = {"name": "siem", "scopes": ["events:read"]}
    return place.browser.once("POST", f"{place.url}/v1/tokens", json=body, headers={"X-CSRF-Token": csrf}).status_code


def to_callback(browser: Browser, url: str) -> str:
    """Return the address at which the provider's answer would be taken, without going there."""
    while True:
        answer = browser.once("GET", url)
        url = str(httpx.URL(url).join(answer.headers["location"]))
        if "/sign-in/callback" in url:
            return url


@pytest.fixture
def account(installation: Installation) -> Callable[..., Account]:
    def make(**fields: object) -> Account:
        known = {"name": "emergency", "password_hash": break_glass.hash_of(PASSWORD), "created_at_ns": 1}
        made = Account(**(known | fields))  # type: ignore[arg-type]  # fields come by name
        installation.store.put_account(made)
        return made

    return make


def test_the_break_glass_account(
    installation: Installation, closed: httpx.Client, account: Callable[..., Account]
) -> None:
    assert "create-break-glass" in closed.get("/sign-in").text
    account()
    form = {"name": "emergency", "password": PASSWORD, "next": "//evil.example"}
    assert 'action="/sign-in/break-glass"' in closed.get("/sign-in").text
    foreign = closed.post("/sign-in/break-glass", data=form, headers={"Origin": "https://evil.example"})
    assert foreign.status_code == 403
    wrong = closed.post("/sign-in/break-glass", data=form | {"password": "x"})
    unknown = closed.post("/sign-in/break-glass", data=form | {"name": "nobody"})
    assert wrong.status_code == unknown.status_code == 401
    assert wrong.text == unknown.text
    forwarded = closed.post("/sign-in/break-glass", data=form, headers={"X-Forwarded-For": "127.0.0.1"})
    assert forwarded.status_code == 401
    good = closed.post("/sign-in/break-glass", data=form)
    assert (good.status_code, good.headers["location"]) == (303, "/")
    set_cookie = good.headers["set-cookie"]
    assert all(word in set_cookie for word in (COOKIE, "HttpOnly", "Secure", "Path=/", "SameSite=lax"))
    cookie = {"Cookie": set_cookie.partition(";")[0]}
    assert closed.get("/v1/me", headers=cookie).json()["role"] == "admin"
    metric = "molecatcher_break_glass_sign_ins_total 1.0"
    assert metric in closed.get("/metrics", headers=cookie).text
    outcomes = [(row.action, row.outcome) for row in installation.store.audit(AuditFilter(), 9)]
    assert outcomes.count(("break-glass.refused", AuditOutcome.REFUSED)) == 3
    assert ("break-glass.begin", AuditOutcome.DONE) in outcomes
    statuses = [closed.post("/sign-in/break-glass", data=form).status_code for _ in range(3)]
    assert statuses[-1] == 429
    assert PASSWORD not in str(installation.store.audit(AuditFilter(), 99))


def test_few_passwords_are_tried_at_once(installation: Installation, account: Callable[..., Account]) -> None:
    account()
    form = {"name": "emergency", "password": "x"}
    app = create_app(installation.context(), AccessConfig(require=True))
    with serving(installation, AccessConfig(), app=app) as closed, ExitStack() as others:
        for _ in range(break_glass.AT_ONCE):
            others.enter_context(app.state.access.trying)
        elsewhere = {"X-Forwarded-For": "192.0.2.1"}  # where no account is good nothing is tried
        assert closed.post("/sign-in/break-glass", data=form, headers=elsewhere).status_code == 401
        assert closed.post("/sign-in/break-glass", data=form).status_code == 503
        others.close()
        assert closed.post("/sign-in/break-glass", data=form).status_code == 401


def test_the_break_glass_account_from_elsewhere_only_when_allowed(account: Callable[..., Account]) -> None:
    here_only, anywhere = account(), account(is_for_loopback_only=False)
    assert not break_glass.is_possible([here_only], is_loopback=False)
    assert break_glass.is_possible([here_only, anywhere], is_loopback=False)
    assert break_glass.is_possible([], is_loopback=True)
    assert break_glass.is_good(here_only, PASSWORD, is_loopback=True)
    assert not break_glass.is_good(here_only, PASSWORD, is_loopback=False)
    assert break_glass.is_good(anywhere, PASSWORD, is_loopback=False)
    assert not break_glass.is_good(None, PASSWORD, is_loopback=True)


@pytest.mark.parametrize(
    ("asked", "goes_to"),
    [
        ("/findings?a=b", "/findings?a=b"),
        ("//evil.example", "/"),
        ("https://evil.example", "/"),
        ("/\\evil.example", "/"),
        ("/\t/evil.example", "/"),
        ("\t//evil.example", "/"),
        ("javascript:alert(1)", "/"),
        ("", "/"),
    ],
)
def test_nobody_is_sent_to_another_site(asked: str, goes_to: str) -> None:
    assert local_target(asked) == goes_to
