"""Raw octets on a connection: what is taken of them before any handler sees a request, and what never is."""

import socket
from collections.abc import Iterator
from contextlib import closing, suppress
from http.client import HTTPConnection
from urllib.parse import urlsplit

import pytest
from installation import Installation

from api.serving.slow_clients import MAX_HEAD_OCTETS

ASK = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
LAST = ASK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")


@pytest.fixture
def stream(installation: Installation) -> Iterator[socket.socket]:
    parts = urlsplit(installation.url)
    with closing(socket.create_connection((parts.hostname, parts.port), timeout=10)) as stream:
        yield stream


def all_that_comes(stream: socket.socket) -> bytes:
    """Return what arrives until the other end closes the connection, in order or not."""
    found = b""
    with suppress(ConnectionError):
        while octets := stream.recv(65_536):
            found += octets
    return found


@pytest.mark.parametrize("start", [b"GET /", b"GET / HTTP/1.1\r\nX: ", b"GET / HTTP/1.1\r\nX-"])
def test_a_head_without_an_end_ends_the_connection(stream: socket.socket, start: bytes) -> None:
    with suppress(ConnectionError):
        stream.sendall(start + b"x" * 2 * MAX_HEAD_OCTETS)
    assert all_that_comes(stream) == b""


def test_a_long_head_is_read(stream: socket.socket) -> None:
    stream.sendall(LAST.replace(b"\r\nConn", b"\r\nX: " + b"x" * (MAX_HEAD_OCTETS // 2) + b"\r\nConn"))
    assert all_that_comes(stream).startswith(b"HTTP/1.1 200")


def test_a_request_before_the_answer_to_another_ends_the_connection(stream: socket.socket) -> None:
    stream.sendall(ASK * 10_000)
    assert all_that_comes(stream).count(b"HTTP/1.1") <= 1


def test_a_connection_is_kept_for_any_number_of_requests_in_turn(installation: Installation) -> None:
    parts = urlsplit(installation.url)
    with closing(HTTPConnection(parts.hostname or "", parts.port, timeout=10)) as connection:
        connection.connect()
        first = connection.sock
        for method in ("GET", "HEAD") * 10:
            connection.request(method, "/healthz")
            answer = connection.getresponse()
            assert (answer.status, bool(answer.read())) == (200, method == "GET")
            assert int(answer.headers["Content-Length"]) > 0
        assert connection.sock is first


def test_a_request_for_another_protocol_is_answered_and_the_last(
    stream: socket.socket, caplog: pytest.LogCaptureFixture
) -> None:
    upgrade = ASK.replace(b"\r\n\r\n", b"\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
    stream.sendall(upgrade)
    answer = all_that_comes(stream)
    assert answer.startswith(b"HTTP/1.1 200")
    assert b"connection: close" in answer.lower()
    assert "pgrade" not in caplog.text


BLOCKED = b'{"entry": "tunnel.colleague.example", "owner": "soc@example.com", "reason": "ticket 4711"}'
UPGRADE = (
    b"POST /v1/blocked HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n"
)
WHOLE = b"Content-Length: %d\r\n\r\n%s" % (len(BLOCKED), BLOCKED)
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n5\r\n%s\r\n%x\r\n%s\r\n0\r\n\r\n" % (
    BLOCKED[:5],
    len(BLOCKED) - 5,
    BLOCKED[5:],
)


@pytest.mark.parametrize("body", [WHOLE, CHUNKED])
@pytest.mark.parametrize("size", [10_000, 50, 1])
def test_the_body_of_a_request_for_another_protocol_is_read(
    stream: socket.socket, installation: Installation, body: bytes, size: int
) -> None:
    request = UPGRADE + body
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for place in range(0, len(request), size):
        stream.sendall(request[place : place + size])
    answer = all_that_comes(stream)
    assert answer.startswith(b"HTTP/1.1 201")
    assert b"connection: close" in answer.lower()
    assert [row.entry for row in installation.store.policy.blocked()] == ["tunnel.colleague.example"]


@pytest.mark.parametrize(
    "late", [b"2\r\n{}\r\n0\r\nX-Late: x\r\n\r\n", b"2\r\n{}\r\n0\r\nX-Late: " + b"x" * 16 * MAX_HEAD_OCTETS]
)
@pytest.mark.parametrize("head", [UPGRADE, UPGRADE.replace(b"Upgrade: h2c", b"X: h2c")])
def test_what_comes_after_the_body_is_not_taken(stream: socket.socket, head: bytes, late: bytes) -> None:
    with suppress(ConnectionError):
        stream.sendall(head + b"Transfer-Encoding: chunked\r\n\r\n" + late)
    assert all_that_comes(stream) == b""


def test_what_follows_a_request_for_another_protocol_is_no_request_and_no_body(
    stream: socket.socket, installation: Installation
) -> None:
    stream.sendall(UPGRADE + WHOLE + ASK)
    assert all_that_comes(stream).count(b"HTTP/1.1") <= 1
    assert len(installation.store.policy.blocked()) <= 1


def test_a_request_for_another_protocol_has_a_body_of_bounded_size(stream: socket.socket) -> None:
    stream.sendall(UPGRADE + b"Content-Length: 70000\r\n\r\n" + b"x" * 70_000)
    assert all_that_comes(stream).startswith(b"HTTP/1.1 413")


def test_fields_after_a_body_are_not_taken(stream: socket.socket) -> None:
    head = b"POST /v1/events:batch HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    stream.sendall(head + b"1\r\n[\r\n0\r\nX-Late: " + b"x" * 100 + b"\r\n\r\n")
    assert all_that_comes(stream) == b""


@pytest.mark.parametrize(
    "head",
    [
        b"POST /v1/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST /v1/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        b"GET /x HTTP/1.1\r\nHost: localhost\r\nX: a\x00b\r\n\r\n",
        b"GET /x HTTP/1.1\r\nHost : localhost\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ],
)
def test_what_two_readers_could_read_in_two_ways_is_refused(stream: socket.socket, head: bytes) -> None:
    stream.sendall(head)
    answer = all_that_comes(stream)
    assert answer.startswith(b"HTTP/1.1 400")
    assert answer.count(b"HTTP/1.1") == 1
