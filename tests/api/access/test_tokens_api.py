"""Tokens over the API: made, shown once, rotated, ended; and each step in the audit log, without a secret."""

import httpx
import pytest
from installation import SECOND_NS, Installation, add_token
from people import sign_in

from api.access.config import AccessConfig
from db.access.audit import chained
from db.access.values import AccessRole, AuditFilter, AuditOutcome, TokenScope
from rules.values.event import rfc3339

BODY = {"name": "paloalto-berlin-1", "scopes": ["feeds:read"], "list": "unsanctioned-domains"}


@pytest.fixture
def admin(installation: Installation) -> dict[str, str]:
    add_token(installation.store)
    return sign_in(installation, AccessRole.ADMIN)


def test_a_token_lives_and_ends(installation: Installation, closed: httpx.Client, admin: dict[str, str]) -> None:
    installation.publish_both()
    made = closed.post("/v1/tokens", json=BODY | {"allow": ["127.0.0.0/8"]}, headers=admin)
    assert made.status_code == 201
    token, token_id = made.json()["token"], made.json()["id"]
    assert reads(installation, closed, token) == 200
    path = f"/v1/tokens/{token_id}"
    newer = closed.post(f"{path}/rotate", json={}, headers=admin).json()["token"]
    assert [reads(installation, closed, it) for it in (token, newer)] == [200, 200]
    assert closed.get(path, headers=admin).json()["secrets"] == 2
    assert closed.post(f"{path}/rotate", json={"finish": True}, headers=admin).json()["token"] is None
    assert [reads(installation, closed, it) for it in (token, newer)] == [401, 200]
    assert closed.post(f"{path}/revoke", headers=admin).json()["revoked_at"]
    assert reads(installation, closed, newer) == 401
    assert closed.post(f"{path}/revoke", headers=admin).status_code == 404
    shown = closed.get("/v1/tokens", headers=admin).text + "".join(
        map(str, installation.store.audit(AuditFilter(), 99))
    )
    assert not [it for it in (token, newer) if it.split("_")[2] in shown]
    actions = [row.action for row in installation.store.audit(AuditFilter(target=token_id), 9)]
    assert actions == ["token.revoke", "token.revoke", "token.finish", "token.rotate", "token.create"]


def test_a_second_rotation_ends_no_secret_unless_it_is_said_which(
    installation: Installation, closed: httpx.Client, admin: dict[str, str]
) -> None:
    installation.publish_both()
    made = closed.post("/v1/tokens", json=BODY, headers=admin).json()
    oldest, path = made["token"], f"/v1/tokens/{made['id']}/rotate"
    early = closed.post(path, json={"replace": True}, headers=admin)
    assert (early.status_code, "leave `replace` out" in early.json()["detail"]) == (409, True)
    newer = closed.post(path, json={}, headers=admin).json()["token"]
    again = closed.post(path, json={}, headers=admin)
    assert again.status_code == 409
    assert again.json()["detail"].startswith("Two secrets are good. End the older one with `finish`")
    assert [reads(installation, closed, it) for it in (oldest, newer)] == [200, 200]
    assert closed.post(path, json={"finish": True, "replace": True}, headers=admin).status_code == 422
    newest = closed.post(path, json={"replace": True}, headers=admin).json()["token"]
    assert [reads(installation, closed, it) for it in (oldest, newer, newest)] == [200, 401, 200]
    page = closed.get("/tokens", headers=admin).text
    assert "Replace the new one" in page


def reads(installation: Installation, client: httpx.Client, token: str) -> int:
    installation.now_ns += 2 * SECOND_NS
    return client.get("/feeds/unsanctioned-domains.txt", headers={"X-Api-Key": token}).status_code


@pytest.mark.parametrize(
    "wrong",
    [
        {"scopes": []},
        {"scopes": ["everything"]},
        {"allow": ["10.0.0.1/8"]},
        {"deny": ["::ffff:10.0.0.0/104"]},
        {"list": "mine"},
        {"sensor": "gateway-1"},
        {"name": ""},
        {"name": "a\x1b[2Jb"},
        {"scopes": ["events:write"], "sensor": "gateway\n1"},
        {"expires_at": {}},
        {"more": 1},
    ],
)
def test_what_no_token_can_be_is_refused(
    installation: Installation, closed: httpx.Client, admin: dict[str, str], wrong: dict[str, object]
) -> None:
    before = len(installation.store.tokens())
    assert closed.post("/v1/tokens", json=BODY | wrong, headers=admin).status_code == 422
    assert len(installation.store.tokens()) == before


@pytest.mark.parametrize("wanted", [BODY, {"name": "gateway-berlin", "scopes": ["sensors:enrol"]}])
def test_a_token_that_would_be_over_already_is_not_made(
    installation: Installation, closed: httpx.Client, admin: dict[str, str], wanted: dict[str, object]
) -> None:
    def made(expires_at_ns: int) -> httpx.Response:
        return closed.post("/v1/tokens", json=wanted | {"expires_at": rfc3339(expires_at_ns)}, headers=admin)

    before = len(installation.store.tokens())
    refused = made(installation.now_ns)
    assert (refused.status_code, refused.json()["detail"][:30]) == (422, "expires_at: this time is past,")
    assert len(installation.store.tokens()) == before
    assert made(installation.now_ns + 60 * SECOND_NS).status_code == 201


def test_a_change_without_the_word_of_the_session_is_refused(
    installation: Installation, closed: httpx.Client, admin: dict[str, str]
) -> None:
    cookie = {"Cookie": admin["Cookie"]}
    other = sign_in(installation, AccessRole.ADMIN)["X-CSRF-Token"]
    for headers in (cookie, cookie | {"X-CSRF-Token": ""}, cookie | {"X-CSRF-Token": other}):
        answer = closed.post("/v1/tokens", json=BODY, headers=headers)
        assert (answer.status_code, answer.json()["type"]) == (403, "urn:molecatcher:problem:other-site")
    foreign = admin | {"Origin": "https://evil.example"}
    assert closed.post("/v1/tokens", json=BODY, headers=foreign).status_code == 403
    assert closed.get("/v1/me", headers=cookie).json()["csrf_token"] == admin["X-CSRF-Token"]
    assert closed.post("/v1/tokens", json=BODY, headers=admin | {"Origin": str(closed.base_url)}).status_code == 201


def test_a_token_that_a_browser_remembers_serves_no_other_site(
    installation: Installation, closed: httpx.Client
) -> None:
    token = add_token(installation.store, scopes=(TokenScope.ADMIN,))
    basic, path = httpx.BasicAuth("admin", token), f"/v1/tokens/{token.split('_')[1]}/revoke"
    for said in ({"Origin": "https://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}):
        assert closed.post(path, headers=said, auth=basic).status_code == 403
    assert closed.post(path, auth=basic).status_code == 200


def test_what_is_dangerous_needs_a_fresh_sign_in(
    installation: Installation, closed: httpx.Client, admin: dict[str, str]
) -> None:
    old = sign_in(installation, AccessRole.ADMIN, age_s=301)
    refused = closed.post("/v1/tokens", json=BODY, headers=old)
    assert (refused.status_code, refused.json()["type"]) == (401, "urn:molecatcher:problem:step-up-needed")
    challenge = refused.headers["www-authenticate"]
    assert 'error="insufficient_user_authentication"' in challenge
    assert "max_age=300" in challenge
    assert closed.get("/v1/tokens", headers=old).status_code == 200
    assert closed.post("/v1/tokens", json=BODY, headers=admin).status_code == 201


def test_sessions_end(installation: Installation, closed: httpx.Client, admin: dict[str, str]) -> None:
    config = AccessConfig().sessions
    (session,) = installation.store.sessions(installation.now_ns)
    assert admin["Cookie"].partition("=")[2].encode() not in session.digest
    installation.now_ns += (config.idle_s - 1) * SECOND_NS
    assert closed.get("/v1/me", headers=admin).status_code == 200
    installation.now_ns += (config.idle_s - 1) * SECOND_NS
    assert closed.get("/v1/me", headers=admin).status_code == 200, "its use counts"
    assert installation.store.revoke_session(session.session_id, installation.now_ns)
    assert closed.get("/v1/me", headers=admin).status_code == 401
    idle = sign_in(installation, AccessRole.VIEWER)
    installation.now_ns += config.idle_s * SECOND_NS
    assert closed.get("/v1/me", headers=idle).status_code == 401
    busy = sign_in(installation, AccessRole.VIEWER)
    for _ in range(config.absolute_s // (config.idle_s // 2)):
        assert closed.get("/v1/me", headers=busy).status_code == 200
        installation.now_ns += config.idle_s // 2 * SECOND_NS
    assert closed.get("/v1/me", headers=busy).status_code == 401


def test_the_audit_log_is_read_in_pages_and_its_chain_holds(
    installation: Installation, closed: httpx.Client, admin: dict[str, str]
) -> None:
    finding_id = decided(installation, closed, admin)
    for _ in range(4):
        assert closed.post("/v1/tokens", json=BODY, headers=admin).status_code == 201
    first = closed.get("/v1/audit", params={"limit": 3}, headers=admin).json()
    second = closed.get("/v1/audit", params={"limit": 3, "cursor": first["next"]}, headers=admin).json()
    rows = [*first["items"], *second["items"]]
    assert [row["seq"] for row in rows] == [5, 4, 3, 2, 1]
    assert rows[-1]["action"] == "finding.update"
    assert rows[-1]["target"] == finding_id
    assert rows[-1]["actor_id"] == "admin@example.com"
    assert rows[-1]["address"] == "127.0.0.1"
    assert rows[-1]["before"] != rows[-1]["after"]
    kept = installation.store.audit(AuditFilter(), 9)[::-1]
    chain = ""
    for entry in kept:
        assert entry.chain == chained(chain, entry)
        chain = entry.chain
    for how, name in (("native", "action"), ("ocsf", "class_uid")):
        export = closed.get("/v1/audit/export", params={"format": how}, headers=admin)
        assert all(name in line for line in export.text.splitlines())


def test_entries_cannot_be_changed(installation: Installation, closed: httpx.Client, admin: dict[str, str]) -> None:
    assert closed.post("/v1/tokens", json=BODY, headers=admin).status_code == 201
    with (
        installation.store._engine.connect() as connection,
        pytest.raises(Exception, match="cannot be changed"),
    ):
        connection.exec_driver_sql("UPDATE audit SET actor_id = 'somebody'")


def test_who_may_not_is_noted_and_looks_at_evidence_are(
    installation: Installation, closed: httpx.Client, admin: dict[str, str]
) -> None:
    event = installation.add(evidence=b"packets")
    viewer, analyst = (sign_in(installation, role) for role in (AccessRole.VIEWER, AccessRole.ANALYST))
    path = f"/v1/events/{event.event_id}/evidence.pcap"
    assert closed.get(path, headers=viewer).status_code == 403
    assert closed.get(path, headers=analyst).content == b"packets"
    assert closed.post("/v1/tokens", json=BODY, headers=analyst).status_code == 403
    rows = installation.store.audit(AuditFilter(), 9)
    assert [(row.action, row.target, row.outcome) for row in rows] == [
        ("access.refused", "/v1/tokens", AuditOutcome.REFUSED),
        ("evidence.read", event.event_id, AuditOutcome.DONE),
        ("access.refused", path, AuditOutcome.REFUSED),
    ]
    assert closed.get("/v1/audit", headers=admin).status_code == 200


def decided(installation: Installation, client: httpx.Client, headers: dict[str, str]) -> str:
    installation.add()
    finding_id = str(client.get("/v1/findings", headers=headers).json()["items"][0]["finding_id"])
    body = {"state": "acknowledged"}
    assert client.post(f"/v1/findings/{finding_id}/state", json=body, headers=headers).status_code == 200
    return finding_id


def test_trusted_loopback_is_told_from_what_was_forwarded(client: httpx.Client) -> None:
    assert client.get("/v1/me").json()["kind"] == "local"
    for name in ("X-Forwarded-For", "Forwarded", "X-Real-IP", "Via"):
        assert client.get("/v1/me", headers={name: "127.0.0.1"}).status_code == 401
    assert client.post("/v1/tokens", json=BODY, headers={"Origin": "https://evil.example"}).status_code == 403
    assert client.post("/v1/tokens", json=BODY, headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
    assert client.post("/v1/tokens", json=BODY).status_code == 201


def test_a_token_without_the_scope_that_is_needed_is_told_so(
    installation: Installation, closed: httpx.Client, admin: dict[str, str]
) -> None:
    assert admin
    headers = {"X-Api-Key": add_token(installation.store, scopes=(TokenScope.EVENTS_READ,))}
    installation.now_ns += 2 * SECOND_NS
    assert closed.get("/v1/policy", headers=headers).json()["type"] == "urn:molecatcher:problem:not-allowed"
