"""The provider tells of sessions that are over: whose they are, once, and only the provider."""

import json
import socket
import sqlite3
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest
from access_server import serving
from installation import Installation
from joserfc import jwt
from joserfc.jwk import ECKey

from api.access.config import AccessConfig, OidcConfig
from api.access.logout_token import EVENT
from api.access.sessions import digest_of
from api.times import NS_PER_S
from db.access.values import AccessRole, Session

KEY = ECKey.generate_key("P-256", {"kid": "1"})
PATH = "/sign-in/back-channel-logout"


class _Provider(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        issuer = f"http://127.0.0.1:{self.server.server_port}"  # type: ignore[attr-defined]
        described = {"issuer": issuer, "jwks_uri": f"{issuer}/keys"}
        body = {"keys": [KEY.as_dict(private=False)]} if self.path == "/keys" else described
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def issuer() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Provider) as server:
        threading.Thread(target=server.serve_forever).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def page(installation: Installation, issuer: str) -> Iterator[httpx.Client]:
    oidc = OidcConfig(issuer=issuer, client_id="molecatcher", roles={"soc": AccessRole.VIEWER})
    with serving(installation, AccessConfig(public_url="http://127.0.0.1", oidc=oidc)) as client:
        yield client


def begin(installation: Installation, issuer: str, name: str, sid: str) -> None:
    now_ns = installation.now_ns
    session = Session(
        digest=digest_of(f"{name}/{sid}"),
        session_id=f"{name}/{sid}",
        issuer=issuer,
        subject=name,
        name=name,
        role=AccessRole.VIEWER,
        authenticated_at_ns=now_ns,
        created_at_ns=now_ns,
        used_at_ns=now_ns,
        expires_at_ns=now_ns + 3600 * NS_PER_S,
        provider_sid=sid,
    )
    installation.store.add_session(session, 99)


def told(installation: Installation, issuer: str, **claims: object) -> dict[str, str]:
    said = {"iss": issuer, "aud": "molecatcher", "iat": installation.now_ns // NS_PER_S, "events": {EVENT: {}}} | claims
    return {"logout_token": jwt.encode({"alg": "ES256", "kid": "1"}, said, KEY)}


def alive(installation: Installation) -> set[str]:
    return {row.session_id for row in installation.store.sessions(installation.now_ns) if row.revoked_at_ns is None}


def test_the_session_or_all_of_a_person_end(installation: Installation, page: httpx.Client, issuer: str) -> None:
    for name, sid in (("u-1", "a"), ("u-1", "b"), ("u-1", "c"), ("u-2", "d")):
        begin(installation, issuer, name, sid)
    begin(installation, "https://another.example", "u-1", "e")
    answer = page.post(PATH, data=told(installation, issuer, jti="1", sub="u-1", sid="a"))
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
    assert alive(installation) == {"u-1/b", "u-1/c", "u-2/d", "u-1/e"}
    assert page.post(PATH, data=told(installation, issuer, jti="2", sid="d")).status_code == 200
    assert page.post(PATH, data=told(installation, issuer, jti="3", sub="u-1")).status_code == 200
    assert alive(installation) == {"u-1/e"}
    assert page.post(PATH, data=told(installation, issuer, jti="4", sub="nobody")).status_code == 200


def test_a_token_is_good_once(installation: Installation, page: httpx.Client, issuer: str) -> None:
    said = told(installation, issuer, jti="1", sub="u-1")
    assert page.post(PATH, data=said).status_code == 200
    begin(installation, issuer, "u-1", "later")
    again = page.post(PATH, data=said)
    assert (again.status_code, again.headers["content-type"]) == (400, "application/problem+json")
    assert "used before" in again.json()["detail"]
    assert alive(installation) == {"u-1/later"}


@pytest.mark.parametrize("said", [{}, {"logout_token": ""}, {"logout_token": "a.b.c"}, {"logout_token": "x" * 60_000}])
def test_what_proves_nothing_ends_nothing(
    installation: Installation, page: httpx.Client, issuer: str, said: dict[str, str]
) -> None:
    begin(installation, issuer, "u-1", "a")
    assert page.post(PATH, data=said).status_code == 400
    assert page.post(PATH, data=told(installation, issuer, jti="1", sub="u-1", nonce="n")).status_code == 400
    assert alive(installation) == {"u-1/a"}


def test_what_proves_nothing_is_not_kept_to_be_repeated(installation: Installation, page: httpx.Client) -> None:
    for path, status in ((PATH, 400), ("/v1/webhooks/nobody", 400), ("/nothing", 404)):
        for _ in range(2):
            answer = page.post(path, headers={"Idempotency-Key": "again"})
            assert (answer.status_code, "idempotency-replayed" in answer.headers) == (status, False)
    with closing(sqlite3.connect(installation.path)) as connection:
        assert connection.execute("SELECT count(*) FROM answered_requests").fetchone() == (0,)


def test_without_a_provider_there_is_nobody_to_tell(client: httpx.Client) -> None:
    assert client.post(PATH, data={"logout_token": "a.b.c"}).status_code == 404


def test_a_token_whose_sessions_could_not_be_ended_is_good_again(
    installation: Installation, page: httpx.Client, issuer: str
) -> None:
    begin(installation, issuer, "u-1", "a")
    said = told(installation, issuer, jti="1", sub="u-1")
    refusal = "CREATE TRIGGER full BEFORE UPDATE ON sessions BEGIN SELECT RAISE(ABORT, 'no room'); END"
    with closing(sqlite3.connect(installation.path)) as connection:
        connection.execute(refusal)
        assert page.post(PATH, data=said).status_code == 503
        connection.execute("DROP TRIGGER full")
    installation.now_ns += 61 * NS_PER_S
    assert page.post(PATH, data=said).status_code == 200
    assert alive(installation) == set()


class _Broken(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.server.asked += 1  # type: ignore[attr-defined]
        self.send_response(500)
        self.end_headers()

    def log_message(self, *_: object) -> None: ...


def test_a_provider_that_does_not_answer_is_asked_once_for_all(installation: Installation) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Broken) as server:
        server.asked = 0  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever).start()
        oidc = OidcConfig(issuer=f"http://127.0.0.1:{server.server_port}", client_id="m", roles={})
        with serving(installation, AccessConfig(public_url="http://127.0.0.1", oidc=oidc)) as page:
            answers = [page.post(PATH, data={"logout_token": "a.b.c"}) for _ in range(3)]
        server.shutdown()
    assert [(row.status_code, "cannot be asked" in row.json()["detail"]) for row in answers] == [(400, True)] * 3
    assert server.asked == 1  # type: ignore[attr-defined]


def test_a_silent_provider_holds_one_thread(installation: Installation) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, ThreadPoolExecutor() as people:
        oidc = OidcConfig(issuer=f"http://127.0.0.1:{silent.getsockname()[1]}", client_id="m", roles={})
        with serving(installation, AccessConfig(public_url="http://127.0.0.1", oidc=oidc)) as page:
            first = people.submit(page.post, PATH, data={"logout_token": "a.b.c"}, timeout=30)
            connection, _ = silent.accept()
            assert "takes long" in page.post(PATH, data={"logout_token": "a.b.c"}).json()["detail"]
            assert not first.done()
            connection.close()
            assert "cannot be asked" in first.result().json()["detail"]


@pytest.mark.parametrize("path", [PATH, "/sign-in/break-glass"])
def test_a_form_of_many_fields_is_refused(page: httpx.Client, path: str) -> None:
    answer = page.post(path, data={f"field{number}": "x" for number in range(30)})
    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json")
