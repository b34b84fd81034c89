"""The listener for other hosts: TLS, always a token, lists and nothing else, and slow clients do not stay."""

import os
import shutil
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from installation import SECOND_NS, Installation, add_token, wait_until
from stand_ins import make_certificate

from api.access.config import AccessConfig, ProxyConfig
from api.app import create_app
from api.errors import RefusedListenAddress, UnusableCertificate
from api.serving import slow_clients
from api.serving.server import parse_listen
from api.serving.tls import Certificate
from db.access.values import TokenScope
from molecatcher.errors import SetupError
from molecatcher.processes.open_feeds import OpenFeeds, listen_openly
from molecatcher.settings import Settings

NAMES = "/feeds/unsanctioned-domains.txt"


@dataclass(frozen=True, slots=True)
class Service:
    """A running listener, a client that trusts it, and the headers of a good token."""

    feeds: OpenFeeds
    client: httpx.Client
    good: dict[str, str]
    certificate: Path


@pytest.fixture
def access() -> AccessConfig | None:
    return None


@pytest.fixture
def service(installation: Installation, tmp_path: Path, access: AccessConfig | None) -> Iterator[Service]:
    installation.publish_both()
    token = add_token(installation.store)
    certificate = make_certificate(tmp_path, ["localhost"])
    listener = listen_openly(Settings(feeds_listen="0.0.0.0:0", tls_cert=certificate, state=tmp_path))
    assert listener is not None
    feeds = OpenFeeds(create_app(installation.context(), access), listener)
    feeds.start()
    wait_until(lambda: feeds.is_started)
    trust = ssl.create_default_context(cafile=str(certificate))
    with httpx.Client(
        base_url=f"https://localhost:{feeds.address.port}", verify=trust, trust_env=False, timeout=60
    ) as client:
        yield Service(feeds, client, {"X-Api-Key": token}, certificate)
    feeds.stop()


def test_lists_need_a_token(service: Service) -> None:
    answer = service.client.get(NAMES, headers=service.good)
    assert answer.status_code == 200
    assert answer.headers["x-feed-serial"] == "7"
    again = service.client.get(NAMES, headers=service.good | {"If-None-Match": answer.headers["etag"]})
    assert again.status_code == 304
    assert service.client.get(NAMES).status_code == 401
    assert service.client.get(f"/feeds/t/{service.good['X-Api-Key']}/unsanctioned-domains.txt").status_code == 200
    assert service.client.get(NAMES, headers=service.good | {"Host": "lists.example"}).status_code == 200


@pytest.mark.parametrize(
    "path",
    ["/", "/v1/events", "/v1/findings", "/v1/policy", "/v1/lists", "/v1/openapi.json", "/metrics", "/readyz", "/docs"],
)
def test_nothing_else_is_there(service: Service, path: str) -> None:
    assert service.client.get(path, headers=service.good).status_code == 404
    assert service.client.get("/healthz").status_code == 200


@pytest.mark.parametrize("path", ["/taxii2/", "/misp/manifest.json", "/v1/decisions/stream?startup=true"])
def test_other_forms_of_the_lists_need_a_token_too(installation: Installation, service: Service, path: str) -> None:
    reader = {"X-Api-Key": add_token(installation.store, scopes=(TokenScope.FEEDS_READ, TokenScope.DECISIONS_READ))}
    installation.now_ns += 2 * SECOND_NS
    assert service.client.get(path, headers=reader).status_code == 200
    assert service.client.get(path).status_code in {401, 403}
    assert service.client.get(path, headers={"X-Api-Key": "a-word"}).status_code in {401, 403}


def test_it_never_speaks_without_tls(service: Service) -> None:
    with pytest.raises(httpx.TransportError):
        httpx.get(
            f"http://127.0.0.1:{service.feeds.address.port}{NAMES}", headers=service.good, trust_env=False, timeout=60
        )


@pytest.mark.parametrize("sent", [b"", b"GET /feeds/", b"GET / HTTP/1.1\r\nHost: x\r\nX-A: b\r\n"])
def test_a_slow_client_does_not_stay(service: Service, monkeypatch: pytest.MonkeyPatch, sent: bytes) -> None:
    with monkeypatch.context() as hurried:
        hurried.setattr(slow_clients, "FIRST_REQUEST_S", 0.3)
        with connect(service) as stream:
            stream.sendall(sent)
            assert what_comes(stream) == b""
    assert service.client.get("/healthz").status_code == 200


def test_one_address_does_not_take_every_place(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slow_clients, "MAX_AN_ADDRESS", 3)
    held = [connect(service) for _ in range(3)]
    with pytest.raises(httpx.TransportError):
        service.client.get("/healthz")
    for stream in held:
        stream.close()
    wait_until(lambda: is_answered(service))


@pytest.mark.parametrize("access", [AccessConfig(proxy=ProxyConfig(trusted=("127.0.0.0/8",)))])
def test_those_behind_a_trusted_proxy_share_no_bound(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slow_clients, "MAX_AN_ADDRESS", 3)
    with ExitStack() as held:
        for _ in range(5):
            held.enter_context(connect(service))
        assert service.client.get("/healthz", headers={"X-Forwarded-For": "192.0.2.7"}).status_code == 200


def test_a_changed_certificate_is_shown_and_a_broken_one_is_not(service: Service, tmp_path: Path) -> None:
    before = shown(service)
    (tmp_path / "new").mkdir()
    newer = make_certificate(tmp_path / "new", ["localhost"])
    replace(service.certificate, lambda path: path.write_text("no certificate"))
    assert not service.feeds.certificate.poll()
    assert shown(service) == before
    replace(service.certificate, lambda path: shutil.copy(newer, path))
    assert service.feeds.certificate.poll()
    assert shown(service) != before


def test_without_a_certificate_it_does_not_listen(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="--tls-cert"):
        listen_openly(Settings(feeds_listen="127.0.0.1:0", state=tmp_path))
    with pytest.raises(UnusableCertificate, match="cannot be used"):
        listen_openly(Settings(feeds_listen="127.0.0.1:0", tls_cert=tmp_path / "none.pem", state=tmp_path))
    with pytest.raises(RefusedListenAddress):
        parse_listen("0.0.0.0:0")
    assert listen_openly(Settings(state=tmp_path)) is None


def connect(service: Service) -> ssl.SSLSocket:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    raw = socket.create_connection(("127.0.0.1", service.feeds.address.port), timeout=60)
    return context.wrap_socket(raw)


def what_comes(stream: ssl.SSLSocket) -> bytes:
    """Return what arrives before the other end closes; a timeout if it does not."""
    try:
        return stream.recv(10)
    except (ConnectionError, ssl.SSLEOFError):
        return b""


def is_answered(service: Service) -> bool:
    try:
        return service.client.get("/healthz").status_code == 200
    except httpx.TransportError:
        return False


def shown(service: Service) -> bytes:
    with connect(service) as stream:
        return stream.getpeercert(binary_form=True) or b""


def replace(path: Path, write: Callable[[Path], object]) -> None:
    """Change a file and its time, which may otherwise be the same within the clock's step."""
    later_ns = path.stat().st_mtime_ns + SECOND_NS
    write(path)
    os.utime(path, ns=(later_ns, later_ns))


def test_the_certificate_is_for_the_key(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    chain, other = make_certificate(tmp_path, ["a.example"]), make_certificate(tmp_path / "other", ["a.example"])
    with pytest.raises(UnusableCertificate):
        Certificate(chain, other)
