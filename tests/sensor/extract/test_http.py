import pytest
from hellos import truncations
from hypothesis import given
from hypothesis import strategies as st

from sensor.errors import MalformedHttp, NeedMoreData
from sensor.extract.http import MAX_HEAD_OCTETS, read_request

CONNECT = (
    b"CONNECT Tunnel.US.ngrok.com:443 HTTP/1.1\r\nHost: tunnel.us.ngrok.com:443\r\n"
    b"Proxy-Authorization: Basic c2VjcmV0OnNlY3JldA==\r\n\r\n"
)
UPGRADE = (
    b"GET /chisel?token=secret HTTP/1.1\r\nHost: c.example:8080\r\nUpgrade: WebSocket\r\nConnection: upgrade\r\n"
    b"Cookie: secret\r\nSec-WebSocket-Protocol: chisel-v3, base64url.bearer.authorization.k8s.io.secret\r\n\r\n"
)


def test_connect_gives_its_authority() -> None:
    request = read_request(CONNECT + b"\x16\x03\x01")
    assert (request.method, request.host, request.port) == ("CONNECT", "tunnel.us.ngrok.com", 443)
    assert request.target == "tunnel.us.ngrok.com:443"
    assert request.head_octets == len(CONNECT)


def test_credentials_are_never_kept() -> None:
    for stream in (CONNECT, UPGRADE, b"GET http://user:secret@a.example/x?secret HTTP/1.1\r\n\r\n"):
        text = repr(read_request(stream))
        assert "secret" not in text
        assert "c2Vj" not in text


def test_a_long_subprotocol_is_left_out_as_it_may_be_a_token() -> None:
    head = b"GET / HTTP/1.1\r\nUpgrade: websocket\r\nSec-WebSocket-Protocol: Bearer, " + b"e" * 60 + b"\r\n\r\n"
    assert read_request(head).websocket_protocols == ("bearer",)


def test_an_upgrade_is_told() -> None:
    request = read_request(UPGRADE)
    assert (request.host, request.port, request.target) == ("c.example", 8080, "/chisel")
    assert (request.upgrade, request.websocket_protocols) == ("websocket", ("chisel-v3",))


@pytest.mark.parametrize(
    ("line", "host", "port", "target"),
    [
        (b"CONNECT [2001:DB8::1]:443", "2001:db8::1", 443, "2001:db8::1:443"),
        (b"CONNECT a.example", "a.example", None, "a.example"),
        (b"CONNECT %61.ex%41mple:443", "a.example", 443, "a.example:443"),
        (b"CONNECT a%00.example%zz:443", "a\\000.example%zz", 443, "a\\000.example%zz:443"),
        (b"CONNECT a.example.:99999", "a.example", None, "a.example"),
        (b"GET http://A.example:8080/p?q", "a.example", 8080, "/p"),
        (b"GET http://A.example", "a.example", None, "/"),
        (b"GET http://[::1]/", "::1", None, "/"),
        (b"GET /p#f", "host.example", 81, "/p"),
        (b"GET /?u=http://b.example/", "host.example", 81, "/"),
        (b"OPTIONS *", "host.example", 81, "*"),
    ],
)
def test_the_target_decides_over_the_host_field(line: bytes, host: str, port: int | None, target: str) -> None:
    request = read_request(line + b" HTTP/1.1\r\nA: b\r\nhOST:\t Host.Example:81 \r\nHost: second\r\n\r\n")
    assert (request.host, request.port, request.target) == (host, port, target)


@pytest.mark.parametrize(
    ("fields", "octets"),
    [
        (b"", 0),
        (b"Content-Length: 12\r\n", 12),
        (b"Content-Length: -1\r\n", None),
        (b"Content-Length: " + b"9" * 30 + b"\r\n", None),
        (b"Transfer-Encoding: chunked\r\n", None),
    ],
)
def test_the_length_of_the_body(fields: bytes, octets: int | None) -> None:
    assert read_request(b"POST / HTTP/1.1\r\n" + fields + b"\r\n").body_octets == octets


def test_bare_line_feeds_and_no_fields_are_taken() -> None:
    assert read_request(b"GET / HTTP/1.0\nHost: a.example\n\n").host == "a.example"
    assert read_request(b"GET / HTTP/1.0\r\n\r\n").head_octets == 18


@pytest.mark.parametrize("stream", [CONNECT, UPGRADE])
def test_every_truncation_needs_more(stream: bytes) -> None:
    for beginning in truncations(stream):
        with pytest.raises(NeedMoreData):
            read_request(beginning)


def test_a_final_beginning_gives_its_complete_lines() -> None:
    hosts = []
    for beginning in truncations(UPGRADE):
        try:
            hosts.append(read_request(beginning, is_final=True).host)
        except NeedMoreData:
            hosts.append(None)
    assert set(hosts) == {None, "c.example"}
    assert hosts.index("c.example") == UPGRADE.index(b"Upgrade")


def test_a_head_without_end_is_read_as_far_as_it_may_be() -> None:
    stream = b"GET / HTTP/1.1\r\nHost: a.example\r\nCookie: " + b"a" * MAX_HEAD_OCTETS
    request = read_request(stream)
    assert (request.host, request.head_octets) == ("a.example", 0)


@pytest.mark.parametrize(
    "stream",
    [
        b"SSH-2.0-OpenSSH\r\n",
        b"EHLO mail.example\r\n",
        b" GET / HTTP/1.1\r\n",
        b"GET / HTTP/1\r\n",
        b"GET / HTTP/1.1 \r\n",
        b"GET /\r\n",
        b"GET / http/1.1\r\n",
        b"RFB 003.008\n",
        b"A" * 65,
        b"GET " + b"a" * 9000,
        b"\x16\x03\x01",
        b"CONNECT :443 HTTP/1.1\r\n\r\n",
    ],
)
def test_what_is_no_request_is_malformed(stream: bytes) -> None:
    with pytest.raises(MalformedHttp):
        read_request(stream)


def test_white_space_costs_linear_time() -> None:
    head = b"GET / HTTP/1.1\r\nHost: " + b" \t" * 8000 + b"x\r\n\r\n"
    assert read_request(head, is_final=True).host == "x"


@given(st.binary(max_size=200), st.booleans())
def test_random_octets_raise_nothing_else(octets: bytes, is_final: bool) -> None:
    for stream in (
        octets,
        b"GET " + octets,
        b"GET / HTTP/1.1\r\n" + octets,
        b"CONNECT " + octets + b" HTTP/1.1\r\n\r\n",
    ):
        try:
            read_request(stream, is_final=is_final)
        except (NeedMoreData, MalformedHttp):
            continue


@given(st.binary(max_size=100))
def test_any_host_folds(host: bytes) -> None:
    request = read_request(b"GET / HTTP/1.1\r\nHost: " + host.replace(b"\n", b"") + b"\r\n\r\n")
    assert request.host is None or request.host.isprintable()
