"""What is refused before any handler sees it, and the headers that every answer has."""

import socket

import httpx
import pytest
from installation import Installation

PATHS = ("/", "/v1/events", "/feeds/unsanctioned-domains.txt", "/healthz", "/metrics", "/static/page.css", "/nope")


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:8484", "LOCALHOST:1", "127.0.0.1:8484", "127.8.9.1", "[::1]:8484", "[::1]"]
)
def test_loopback_hosts_are_answered(client: httpx.Client, host: str) -> None:
    assert client.get("/healthz", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "evil.example:8484",
        "localhost:evil",
        "10.0.0.1",
        "0.0.0.0",
        "[::]",
        "[::ffff:127.0.0.1]",
        "::1:8484x",
        "user@localhost",
        "localhost,evil.example",
        "",
    ],
)
@pytest.mark.parametrize("path", PATHS[:3])
def test_other_hosts_are_not(client: httpx.Client, host: str, path: str) -> None:
    answer = client.get(path, headers={"Host": host})
    assert answer.status_code == 421
    assert answer.json()["type"] == "urn:molecatcher:problem:wrong-host"


@pytest.mark.parametrize("path", PATHS)
def test_every_answer_has_the_security_headers(client: httpx.Client, path: str) -> None:
    headers = client.get(path).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["x-request-id"]
    assert not {"set-cookie", "server", "access-control-allow-origin"} & set(headers)


def test_other_origins_get_no_permission(client: httpx.Client) -> None:
    headers = {"Origin": "https://evil.example", "Access-Control-Request-Method": "GET"}
    answer = client.options("/v1/events", headers=headers)
    assert answer.status_code == 405
    assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize("query", ["q=%00", "q=a%0Ab", "q=%7f", "q=%C2%85", "q=%ff%fe", "%1b=1"])
def test_control_characters_and_broken_text_are_refused(client: httpx.Client, query: str) -> None:
    answer = client.get(f"/v1/events?{query}")
    assert answer.status_code == 400
    assert answer.json()["type"] == "urn:molecatcher:problem:bad-request"


@pytest.mark.parametrize(
    "target",
    [
        "/v1/events?service=ngrok&service=bore",
        "/v1/events?service=ngrok&serv%69ce=ngrok",
        "/v1/findings?limit=1&limit=",
        "/feeds/unsanctioned-domains.txt?comments=0&comments=1",
        "/taxii2/?a&a",
    ],
)
def test_a_parameter_that_is_given_twice_is_refused(client: httpx.Client, target: str) -> None:
    answer = client.get(target)
    assert answer.status_code == 400
    assert "once" in answer.json()["detail"]


def test_a_target_that_is_too_long_is_refused(client: httpx.Client) -> None:
    for target in (f"/v1/events?q={'x' * 9000}", f"/{'x' * 9000}"):
        answer = client.get(target)
        assert answer.status_code == 414
        assert answer.headers["content-type"] == "application/problem+json"


def test_a_declared_body_that_is_too_large_is_refused(client: httpx.Client) -> None:
    answer = client.request("GET", "/v1/events", content=b"x" * 70_000)
    assert answer.status_code == 413
    assert answer.json()["type"] == "urn:molecatcher:problem:request-too-large"


def test_a_server_goes_on_after_nonsense(installation: Installation, client: httpx.Client) -> None:
    host, port = installation.url.removeprefix("http://").split(":")
    for octets in (
        b"\x16\x03\x01" * 50,
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /\x00 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"\r\n",
    ):
        with socket.create_connection((host, int(port)), timeout=60) as connection:
            connection.sendall(octets)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(4096):
                pass
    assert client.get("/healthz").status_code == 200
