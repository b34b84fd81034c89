"""Listening where others reach it: TLS, who is believed about an address, which addresses may, how often, and how."""

import shutil
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from access_server import serving
from free_ports import free_port
from installation import Installation, add_token, wait_until
from people import sign_in
from servers import running
from stand_ins import make_certificate

from api.access.config import AccessConfig, AddressConfig, LimitConfig, ProxyConfig, TlsConfig, parse_access
from api.access.proxies import TrustedProxies
from api.access.table import Area
from api.app import create_app, is_proxy
from api.errors import UnusableAccessConfig
from api.problems import Problem
from api.serving import slow_clients
from api.serving.server import ApiServer, ListenAddress, Reach, bind
from api.serving.tls import Certificate
from db.access.values import AccessRole, TokenScope
from molecatcher.access_file import plan_listening
from molecatcher.errors import SetupError
from molecatcher.settings import Settings

LISTS = "/feeds/unsanctioned-domains.txt"
HAPROXY = """
defaults
    mode http
    timeout connect 5s
    timeout client 30s
    timeout server 30s
frontend page
    bind 127.0.0.1:{port}
    option forwardfor
    http-request set-header X-Forwarded-Proto https
    default_backend molecatcher
backend molecatcher
    server one 127.0.0.1:{target}
"""


@contextmanager
def open_to_all(installation: Installation, config: AccessConfig, certificate: Certificate) -> Iterator[ListenAddress]:
    app = create_app(installation.context(), config)
    server = ApiServer(
        app, bind(ListenAddress("0.0.0.0", 0)), certificate, reach=Reach.EVERYTHING, is_proxy=partial(is_proxy, app)
    )
    with running(server):
        yield server.address


def client_of(pem: Path, address: ListenAddress, own: Path | None = None) -> httpx.Client:
    trust = ssl.create_default_context(cafile=str(pem))
    if own is not None:
        trust.load_cert_chain(own)
    return httpx.Client(base_url=f"https://localhost:{address.port}", verify=trust, trust_env=False, timeout=60)


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_beyond_loopback_nothing_answers_without_a_credential(installation: Installation, tmp_path: Path) -> None:
    pem = make_certificate(tmp_path, ["localhost"])
    access = write(tmp_path / "access.toml", 'hosts = ["molecatcher.example"]')
    config, reach, certificate = plan_listening(
        Settings(listen="0.0.0.0:0", tls_cert=pem, access=access, state=tmp_path)
    )
    assert reach is Reach.EVERYTHING
    assert certificate is not None
    token = {"X-Api-Key": add_token(installation.store, scopes=(TokenScope.EVENTS_READ,))}
    with open_to_all(installation, config, certificate) as address, client_of(pem, address) as client:
        paths = ("/", "/v1/events", "/v1/openapi.json", "/metrics", "/readyz", LISTS, "/v1/me", "/events/none")
        assert {client.get(path).status_code for path in paths} == {401}
        assert {client.get(path).status_code for path in ("/healthz", "/blocked")} == {200}
        answer = client.get("/v1/events", headers=token | {"Host": "MOLECATCHER.example:443"})
        assert answer.status_code == 200
        assert answer.headers["strict-transport-security"]
        assert client.get("/v1/events", headers=token | {"Host": "evil.example"}).status_code == 421


@pytest.mark.parametrize(
    ("options", "text", "complaint"),
    [
        ({}, "", "name the server"),
        ({}, 'hosts = ["a.example"]', "in the clear"),
    ],
)
def test_what_would_be_open_does_not_start(tmp_path: Path, options: dict[str, Any], text: str, complaint: str) -> None:
    access = write(tmp_path / "access.toml", text)
    with pytest.raises(SetupError, match=complaint):
        plan_listening(Settings(listen="0.0.0.0:0", access=access, state=tmp_path, **options))


@pytest.mark.parametrize(
    "text",
    [
        "hots = []",
        "[proxy]\ntrusted = ['10.0.0.1/8']",
        "[addresses.moon]\nallow = []",
        "[limits]\nknown = 'often'",
        "public_url = 'https://a.example'\n[oidc]\nissuer = 'http://id.example'\nclient_id = 'm'\nroles = {}",
        "public_url = 'https://a.example'\n[oidc]\nissuer = 'id.example'\nclient_id = 'm'\nroles = {}",
        "[",
    ],
)
def test_an_access_file_that_says_what_cannot_be_is_refused(text: str) -> None:
    with pytest.raises(UnusableAccessConfig, match=r"access\.toml"):
        parse_access(text, "access.toml")


def test_each_area_has_its_addresses_and_the_answer_does_not_tell(installation: Installation) -> None:
    installation.publish_both()
    elsewhere, here = AddressConfig(allow=("192.0.2.0/24",)), AddressConfig(deny=("192.0.2.0/24",))
    config = AccessConfig(require=True, addresses={Area.API: elsewhere, Area.PAGE: elsewhere, Area.FEEDS: here})
    token = {"X-Api-Key": add_token(installation.store, scopes=tuple(TokenScope))}
    person = sign_in(installation, AccessRole.ADMIN)
    with serving(installation, config) as client:
        assert client.get(LISTS, headers=token).status_code == 200
        refused = client.get("/v1/events", headers=token)
        unknown = client.get("/v1/events", headers={"X-Api-Key": "mc_000000000000_" + "0" * 64})
        assert (refused.status_code, refused.content) == (unknown.status_code, unknown.content)
        assert refused.status_code == 401
        assert client.get("/", headers=person).status_code == 401
        assert client.get("/v1/me", headers=person).status_code == 401


def test_loopback_is_not_trusted_from_a_refused_address(installation: Installation) -> None:
    config = AccessConfig(addresses={Area.API: AddressConfig(deny=("127.0.0.0/8",))})
    with serving(installation, config) as client:
        assert client.get("/v1/events").status_code == 401
        assert client.get("/").status_code == 200


def test_how_often_is_said_and_kept(installation: Installation) -> None:
    config = AccessConfig(require=True, limits=LimitConfig(known="3/hour", unknown="2/hour"))
    one, other = ({"X-Api-Key": add_token(installation.store, scopes=(TokenScope.EVENTS_READ,))} for _ in range(2))
    with serving(installation, config) as client:
        answers = [client.get("/v1/events", headers=one) for _ in range(4)]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
        assert answers[0].headers["ratelimit-policy"] == '"known";q=3;w=3600'
        assert answers[0].headers["ratelimit"].startswith('"known";r=2;t=')
        assert 1 <= int(answers[3].headers["retry-after"]) <= 3600
        strangers = [client.get("/v1/events").status_code for _ in range(3)]
        assert strangers == [401, 401, 429]
        assert client.get("/v1/events", headers=other).status_code == 200, "others' mistakes do not count"


@pytest.mark.parametrize(
    ("peer", "headers", "hops", "expected"),
    [
        ("10.0.0.1", {"x-forwarded-for": "192.0.2.7"}, 1, ("192.0.2.7", "http")),
        (
            "10.0.0.1",
            {"x-forwarded-for": "127.0.0.1, 192.0.2.7", "x-forwarded-proto": "https"},
            1,
            ("192.0.2.7", "https"),
        ),
        ("10.0.0.1", {"x-forwarded-for": "127.0.0.1, 192.0.2.7, 10.0.0.2"}, 2, ("192.0.2.7", "http")),
        ("10.0.0.1", {"forwarded": 'for="[2001:db8::1]:4711";proto=https'}, 1, ("2001:db8::1", "http")),
        ("10.0.0.1", {"forwarded": "for=192.0.2.7;by=10.0.0.1"}, 1, ("192.0.2.7", "http")),
        ("10.0.0.1", {"forwarded": "for=192.0.2.7", "x-forwarded-for": "192.0.2.7"}, 1, ("192.0.2.7", "http")),
        ("10.0.0.1", {"forwarded": "for=192.0.2.7", "x-forwarded-for": "192.0.2.8"}, 1, None),
        (
            "10.0.0.1",
            {"forwarded": 'for="[2001:DB8:0::1]:4711"', "x-forwarded-for": "2001:db8::1"},
            1,
            ("2001:db8::1", "http"),
        ),
        ("10.0.0.1", {"forwarded": "for=192.0.2.7", "x-forwarded-for": "192.0.2.7:4711"}, 1, ("192.0.2.7", "http")),
        (
            "10.0.0.1",
            {"forwarded": 'for="192.0.2.7:4711"', "x-forwarded-for": '"::ffff:192.0.2.7"'},
            1,
            ("192.0.2.7", "http"),
        ),
        (
            "10.0.0.1",
            {"forwarded": "for=192.0.2.7, for=10.0.0.2", "x-forwarded-for": "192.0.2.7, 10.0.0.2:1"},
            2,
            ("192.0.2.7", "http"),
        ),
        ("10.0.0.1", {"forwarded": 'for="[2001:db8::1]"', "x-forwarded-for": "2001:db8::2"}, 1, None),
        ("10.0.0.1", {"forwarded": "for=_hidden", "x-forwarded-for": "_HIDDEN"}, 1, None),
        ("10.0.0.1", {"forwarded": "proto=https", "x-forwarded-for": "192.0.2.8"}, 1, ("192.0.2.8", "http")),
        ("127.0.0.1", {"x-forwarded-for": "192.0.2.7"}, 1, ("127.0.0.1", "http")),
        ("10.0.0.1", {}, 1, None),
        ("10.0.0.1", {"x-forwarded-for": "192.0.2.7"}, 2, None),
        ("10.0.0.1", {"x-forwarded-for": "192.0.2.7, 198.51.100.1"}, 2, None),
        ("10.0.0.1", {"x-forwarded-for": "unknown"}, 1, None),
        ("198.51.100.1", {"x-forwarded-for": "192.0.2.7"}, 1, None),
    ],
)
@pytest.mark.anyio
async def test_only_trusted_proxies_say_who_asks(
    peer: str, headers: dict[str, str], hops: int, expected: tuple[str, str] | None
) -> None:
    seen: list[tuple[str, str]] = []

    async def app(scope: dict[str, object], _receive: object, _send: object) -> None:
        seen.append((scope["client"][0], str(scope["scheme"])))  # type: ignore[index]

    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "client": (peer, 1), "scheme": "http", "headers": raw}
    proxies = TrustedProxies(app, lambda: ProxyConfig(trusted=("10.0.0.0/8",), hops=hops))  # type: ignore[arg-type]
    try:
        await proxies(scope, None, None)  # type: ignore[arg-type]
    except Problem:
        assert expected is None
    else:
        assert seen == [expected]


@pytest.mark.parametrize(("trusted", "answered"), [("127.0.0.0/8", 5), ("192.0.2.0/24", 3)])
def test_those_behind_a_trusted_proxy_share_no_bound(
    installation: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trusted: str, answered: int
) -> None:
    monkeypatch.setattr(slow_clients, "MAX_AN_ADDRESS", 3)
    pem, statuses = make_certificate(tmp_path, ["localhost"]), []
    config = AccessConfig(hosts=("localhost",), proxy=ProxyConfig(trusted=(trusted,)))
    with open_to_all(installation, config, Certificate(pem, None)) as address, ExitStack() as held:
        for _ in range(5):
            client = held.enter_context(client_of(pem, address))
            with suppress(httpx.TransportError):
                statuses.append(client.get("/healthz", headers={"X-Forwarded-For": "192.0.2.7"}).status_code)
    assert statuses == [200] * answered


@pytest.mark.skipif(shutil.which("haproxy") is None, reason="apt-get install haproxy")
def test_behind_haproxy(installation: Installation, tmp_path: Path) -> None:
    proxy = ProxyConfig(trusted=("127.0.0.1/32",))
    blocked = AddressConfig(deny=("127.0.0.1/32",))
    token = {"X-Api-Key": add_token(installation.store, scopes=(TokenScope.EVENTS_READ,))}
    with serving(installation, AccessConfig(proxy=proxy)) as direct:
        with haproxy(tmp_path, direct) as client:
            assert client.get("/v1/events").status_code == 401, "everybody looks like loopback"
            answer = client.get("/v1/events", headers=token)
            assert answer.status_code == 200
            assert answer.headers["strict-transport-security"]
        assert direct.get("/v1/events", headers=token).status_code == 400, "a proxy that does not say"
    with serving(installation, AccessConfig(proxy=proxy, addresses={Area.API: blocked})) as direct:
        with haproxy(tmp_path, direct) as client:
            assert client.get("/v1/events", headers=token).status_code == 401
        said = token | {"X-Forwarded-For": "192.0.2.7"}
        assert direct.get("/v1/events", headers=said).status_code == 200


@contextmanager
def haproxy(folder: Path, direct: httpx.Client) -> Iterator[httpx.Client]:
    """Yield a client of a real proxy in front of `direct`."""
    port = free_port()
    config = write(folder / "haproxy.cfg", HAPROXY.format(port=port, target=direct.base_url.port))
    with subprocess.Popen(["haproxy", "-q", "-db", "-f", config]) as process:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=60) as client:
            wait_until(lambda: is_answered(client))
            yield client
        process.terminate()


def is_answered(client: httpx.Client) -> bool:
    try:
        return client.get("/healthz").status_code == 200
    except httpx.TransportError:
        return False


def test_an_area_may_need_a_certificate(installation: Installation, tmp_path: Path) -> None:
    (tmp_path / "machine").mkdir()
    (tmp_path / "stranger").mkdir()
    pem = make_certificate(tmp_path, ["localhost"])
    machine, stranger = (make_certificate(tmp_path / name, ["sensor"]) for name in ("machine", "stranger"))
    config = AccessConfig(require=True, hosts=("x",), tls=TlsConfig(client_ca=str(machine), areas=(Area.API,)))
    token = {"X-Api-Key": add_token(installation.store, scopes=tuple(TokenScope))}
    installation.publish_both()
    with open_to_all(installation, config, Certificate(pem, None, machine)) as address:
        with client_of(pem, address, machine) as client:
            assert client.get("/v1/events", headers=token).status_code == 200
            assert client.get("/v1/events").status_code == 401
        with client_of(pem, address) as client:
            assert client.get("/v1/events", headers=token).status_code == 401
            assert client.get(LISTS, headers=token).status_code == 200
        with client_of(pem, address, stranger) as client, pytest.raises(httpx.TransportError):
            client.get("/v1/events", headers=token)


def test_an_answer_is_repeated_to_the_certificate_that_had_it(installation: Installation, tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "other").mkdir()
    pem, one, other = (make_certificate(tmp_path / name, ["localhost"], name or "api") for name in ("", "one", "other"))
    machines = write(tmp_path / "machines.pem", one.read_text() + other.read_text())
    headers = {
        "X-Api-Key": add_token(installation.store, scopes=(TokenScope.EVENTS_READ,)),
        "Idempotency-Key": "chosen-by-both",
    }
    body = {"name": "live agents", "resource": "findings", "query": {"tunnel_state": "live"}}
    config = AccessConfig(require=True, hosts=("x",), tls=TlsConfig(client_ca=str(machines), areas=(Area.API,)))
    answers = []
    with open_to_all(installation, config, Certificate(pem, None, machines)) as address:
        for certificate in (one, other, one):
            with client_of(pem, address, certificate) as client:
                answers.append(client.post("/v1/searches", json=body, headers=headers))
    assert [answer.status_code for answer in answers] == [201, 201, 201]
    assert ["idempotency-replayed" in answer.headers for answer in answers] == [False, False, True]
    assert answers[0].content == answers[2].content != answers[1].content
