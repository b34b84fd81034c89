"""A session's role follows the access file: by what the provider said at the sign-in, and without a role it ends."""

import sqlite3
from collections.abc import Iterator

import httpx
import msgspec
import pytest
from access_server import serving
from fastapi import FastAPI
from installation import Installation
from people import sign_in

from api.access.config import AccessConfig, MfaConfig, OidcConfig
from api.access.sessions import COOKIE, Sessions
from api.app import change_access, create_app
from db.access.values import AccessRole, ActorKind, AuditFilter, Session

OIDC = OidcConfig(
    issuer="https://id.example",
    client_id="molecatcher",
    roles={"soc": AccessRole.ANALYST, "net": AccessRole.VIEWER},
)
CONFIG = AccessConfig(require=True, public_url="https://molecatcher.example", oidc=OIDC)


def with_oidc(**changed: object) -> AccessConfig:
    return msgspec.structs.replace(CONFIG, oidc=msgspec.structs.replace(OIDC, **changed))


@pytest.fixture
def app(installation: Installation) -> FastAPI:
    return create_app(installation.context(), CONFIG)


@pytest.fixture
def page(installation: Installation, app: FastAPI) -> Iterator[httpx.Client]:
    with serving(installation, CONFIG, app=app) as client:
        yield client


def signed_in(installation: Installation, *groups: str) -> dict[str, str]:
    """Return the cookie of somebody of these groups who signed in while the first of them meant analyst."""
    session = Session(
        digest=b"",
        session_id="",
        issuer=OIDC.issuer,
        subject="u-1",
        name="alice@example.com",
        role=AccessRole.ANALYST,
        amr=("pwd", "mfa"),
        authenticated_at_ns=installation.now_ns,
        created_at_ns=0,
        used_at_ns=0,
        expires_at_ns=0,
        provider_groups=groups,
    )
    sessions = Sessions(installation.store, lambda: installation.now_ns, CONFIG.sessions)
    return {"Cookie": f"{COOKIE}={sessions.begin(session)}"}


def role(client: httpx.Client, cookie: dict[str, str]) -> str | None:
    answer = client.get("/v1/me", headers=cookie)
    return str(answer.json()["role"]) if answer.status_code == 200 else None


def test_a_changed_mapping_changes_the_role(installation: Installation, app: FastAPI, page: httpx.Client) -> None:
    alice = signed_in(installation, "soc", "net")
    assert role(page, alice) == "analyst"
    change_access(app, with_oidc(roles={"net": AccessRole.VIEWER}))
    assert role(page, alice) == "viewer"
    admin = sign_in(installation, AccessRole.ADMIN)
    shown = page.get("/v1/sessions", headers=admin).json()["items"]
    assert [row["role"] for row in shown if row["subject"] == "u-1"] == ["viewer"]
    change_access(app, with_oidc(roles={"soc": AccessRole.ADMIN}))
    assert role(page, alice) == "admin"


@pytest.mark.parametrize(
    "config",
    [
        with_oidc(roles={"others": AccessRole.ADMIN}),
        with_oidc(issuer="https://other.example"),
        with_oidc(mfa=MfaConfig(amr=("hwk",))),
        AccessConfig(require=True),
    ],
    ids=["no role", "another provider", "another second factor", "no provider"],
)
def test_without_a_role_it_ends_for_good(
    installation: Installation, app: FastAPI, page: httpx.Client, config: AccessConfig
) -> None:
    alice, emergency = signed_in(installation, "soc"), sign_in(installation, AccessRole.ADMIN)
    change_access(app, config)
    ended = [it for it in installation.store.sessions(installation.now_ns) if it.revoked_at_ns is not None]
    assert [it.subject for it in ended] == ["u-1"], "before anybody asks"
    (entry,) = installation.store.audit(AuditFilter(), 9)
    assert (entry.action, entry.target, entry.actor_kind) == ("session.end", ended[0].session_id, ActorKind.SYSTEM)
    assert (entry.actor_name, entry.detail) == ("the access file", "state: open -> revoked")
    assert role(page, alice) is None
    change_access(app, CONFIG)
    assert role(page, alice) is None
    assert role(page, emergency) == "admin", "of the break-glass account"
    assert len(installation.store.audit(AuditFilter(), 9)) == 1


def test_a_file_that_changed_while_the_program_was_away_counts(installation: Installation) -> None:
    alice = signed_in(installation, "soc")
    with serving(installation, with_oidc(roles={"net": AccessRole.VIEWER})) as client:
        assert role(client, alice) is None
    with serving(installation, CONFIG) as client:
        assert role(client, alice) is None
    (entry,) = installation.store.audit(AuditFilter(), 9)
    assert entry.action == "session.end"


def test_a_change_is_in_force_though_ends_cannot_be_noted(
    installation: Installation, app: FastAPI, page: httpx.Client
) -> None:
    alice = signed_in(installation, "soc")
    with sqlite3.connect(installation.path) as damage:
        damage.execute("ALTER TABLE audit RENAME TO lost_audit")
    change_access(app, with_oidc(roles={}))
    assert page.get("/v1/me", headers=alice).status_code == 503, "what cannot be noted does not happen"
    with sqlite3.connect(installation.path) as repair:
        repair.execute("ALTER TABLE lost_audit RENAME TO audit")
    assert role(page, alice) is None
