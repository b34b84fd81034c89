"""The lines are those of Squid 5.7 and HAProxy 2.6 on loopback; names and addresses were changed."""

from datetime import datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rules.values.observation import Refusal
from sensor.errors import MalformedLogLine
from sensor.proxy_log.observe import observe
from sensor.proxy_log.read import read_line
from sensor.proxy_log.record import UNKNOWN_ADDRESS, ProxyRecord

NATIVE = (
    b"1795471704.732     22 10.1.2.3 TCP_TUNNEL/200 6504 CONNECT "
    b"Connect.ngrok-agent.com:443 alice HIER_DIRECT/192.0.2.7 -"
)
COMMON = (
    b'10.1.2.3 - alice [23/Nov/2026:22:08:24 +0000] "CONNECT connect.ngrok-agent.com:443 HTTP/1.1" 200 6504 '
    b"TCP_TUNNEL:HIER_DIRECT"
)
COMBINED = (
    b'10.1.2.3 - alice [23/Nov/2026:22:08:24 +0000] "CONNECT connect.ngrok-agent.com:443 HTTP/1.1" 200 6504 "-" '
    b'"curl/7.88.1" TCP_TUNNEL:HIER_DIRECT'
)
HTTPLOG = (
    b"10.1.2.3:38992 [23/Nov/2026:22:08:24.797] h squid/s 0/0/0/2/8 200 6521 - - ---- 1/1/0/0/0 0/0 "
    b'{connect.ngrok-agent.com:443} "CONNECT connect.ngrok-agent.com:443 HTTP/1.1"'
)
TCPLOG = b"10.1.2.3:53126 [23/Nov/2026:22:03:22.726] t tls/t 2/0/3 6466 -- 1/1/0/0/0 0/0 {connect.ngrok-agent.com}"
ALL = (NATIVE, COMMON, COMBINED, HTTPLOG, TCPLOG)


@pytest.mark.parametrize("line", ALL)
def test_each_format_names_client_and_host(line: bytes) -> None:
    record = read_line(line)
    assert (record.client, record.host) == (bytes([10, 1, 2, 3]), "connect.ngrok-agent.com")
    assert record.is_established
    assert not record.is_denied
    assert record.octets_in > 6000


@pytest.mark.parametrize(
    "prefix",
    [
        b"<134>Nov 23 22:08:24 haproxy[19922]: ",
        b"Nov  3 22:08:24 gateway haproxy[19922]: ",
        b"Nov 23 22:08:24 gateway squid: ",
        b"2026-11-23T22:08:24.800123+01:00 gateway (squid-1)[12]: ",
        b"<134>1 2026-11-23T22:08:24.8Z gateway squid 12 - - ",
        b'<134>1 2026-11-23T22:08:24.8Z gateway squid 12 id [origin ip="10.0.0.1"] ',
    ],
)
@pytest.mark.parametrize("line", ALL)
def test_the_prefix_of_syslog_changes_nothing(prefix: bytes, line: bytes) -> None:
    assert read_line(prefix + line) == read_line(line)


@pytest.mark.parametrize(
    ("captured", "request_line"),
    [
        ("bad.example:443", "CONNECT good.example:443@bad.example:443"),
        ("bad.example", "GET http://good.example?@bad.example/"),
        ("bad.example:443", "CONNECT http://bad.example:443"),
        ("good.example, bad.example", "GET /"),
    ],
)
def test_of_a_request_that_no_standard_allows_haproxy_dials_its_own_reading(captured: str, request_line: str) -> None:
    """As `tests/sensor/extract/test_http_proxies.py` has it from HAProxy itself."""
    start, _, _ = HTTPLOG.partition(b"{")
    line = start + f'{{{captured}}} "{request_line} HTTP/1.1"'.encode()
    assert read_line(line).host == "bad.example"


@pytest.mark.parametrize("line", [NATIVE, COMMON, COMBINED, HTTPLOG])
def test_any_method_that_a_proxy_takes_is_read(line: bytes) -> None:
    target = b"http://Connect.ngrok-agent.com/"
    odd = line.replace(b"CONNECT Connect.ngrok-agent.com:443", b"g3t_x " + target)
    odd = odd.replace(b"CONNECT connect.ngrok-agent.com:443", b"g3t_x " + target)
    record = read_line(odd)
    assert (record.method, record.host) == ("g3t_x", "connect.ngrok-agent.com")


def test_squid_says_when_and_where_to() -> None:
    record = read_line(NATIVE + b" port=60744 out=878 sni=Inner.Example.")
    assert record == ProxyRecord(
        began_ns=1795471704710000000,
        duration_ms=22,
        client=bytes([10, 1, 2, 3]),
        client_port=60744,
        method="CONNECT",
        host="connect.ngrok-agent.com",
        port=443,
        sni="inner.example",
        server=bytes([192, 0, 2, 7]),
        octets_out=878,
        octets_in=6504,
        user="alice",
        is_established=True,
    )
    assert record.ended_ns == 1795471704732000000


def test_haproxy_says_when_in_local_time() -> None:
    record = read_line(HTTPLOG)
    assert record.began_ns == int(datetime(2026, 11, 23, 22, 8, 24).timestamp()) * 10**9 + 797 * 10**6  # noqa: DTZ001 - local
    assert (record.duration_ms, record.client_port, record.port, record.server) == (8, 38992, 443, UNKNOWN_ADDRESS)


def test_a_zone_is_heeded() -> None:
    east, west = (read_line(COMMON.replace(b"+0000", zone)).began_ns for zone in (b"+0200", b"-0130"))
    assert west - east == 3.5 * 3600 * 10**9


@pytest.mark.parametrize(
    ("line", "denied", "established"),
    [
        (NATIVE.replace(b"TCP_TUNNEL/200", b"TCP_DENIED/403"), True, False),
        (NATIVE.replace(b"TCP_TUNNEL/200", b"TCP_DENIED/407"), False, False),
        (NATIVE.replace(b"TCP_TUNNEL/200", b"TCP_TUNNEL/503"), False, False),
        (NATIVE.replace(b" 6504 ", b" 0 "), False, False),
        (COMBINED.replace(b" 200 ", b" 403 ").replace(b"TCP_TUNNEL", b"TCP_DENIED"), True, False),
        (HTTPLOG.replace(b" 200 ", b" 403 ").replace(b"----", b"PR--"), True, False),
        (HTTPLOG.replace(b" 200 ", b" 403 "), True, False),
        (HTTPLOG.replace(b" 200 ", b" 503 ").replace(b"----", b"SC--"), False, False),
        (TCPLOG.replace(b" -- ", b" PR ").replace(b" 6466 ", b" 0 "), True, False),
    ],
)
def test_what_became_of_it(line: bytes, denied: bool, established: bool) -> None:
    record = read_line(line)
    assert (record.is_denied, record.is_established) == (denied, established)
    assert observe(record, 1, "access.log").refusal is (Refusal.PROXY if denied else None)


@pytest.mark.parametrize(
    ("target", "host", "port"),
    [
        (b"GET http://User:secret@X.Example/a?secret", "x.example", 80),
        (b"GET https://x.example/", "x.example", 443),
        (b"CONNECT [2001:db8::1]:8443", "2001:db8::1", 8443),
        (b"POST http://x.example:8080/", "x.example", 8080),
    ],
)
def test_the_request_names_the_host(target: bytes, host: str, port: int) -> None:
    for line in (NATIVE, COMBINED, HTTPLOG):
        record = read_line(
            line.replace(b"CONNECT Connect.ngrok-agent.com:443", target).replace(
                b"CONNECT connect.ngrok-agent.com:443", target
            )
        )
        assert (record.host, record.port) == (host, port)
        assert "secret" not in repr(record)


def test_a_captured_host_stands_in_for_an_origin_form() -> None:
    line = HTTPLOG.replace(b'"CONNECT connect.ngrok-agent.com:443', b'"GET /x').replace(b"{", b"{Mozilla/5.0|")
    assert (read_line(line).method, read_line(line).host) == ("GET", "connect.ngrok-agent.com")


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\x00" * 65536,
        b"10.1.2.3" * 8000,
        b'"' + b"1 A" * 20000,
        NATIVE.replace(b"10.1.2.3", b"host.example"),
        NATIVE.replace(b"CONNECT Connect.ngrok-agent.com:443", b"NONE error:invalid-request"),
        HTTPLOG.replace(b"CONNECT connect.ngrok-agent.com:443 HTTP/1.1", b"<BADREQ>"),
        TCPLOG.replace(b" {connect.ngrok-agent.com}", b""),
        COMMON.replace(b"Nov", b"Nox"),
        COMMON.replace(b"23/Nov", b"31/Nov"),
    ],
)
def test_what_says_nothing_is_malformed(line: bytes) -> None:
    with pytest.raises(MalformedLogLine):
        read_line(line)


@given(st.sampled_from(ALL), st.integers(0, 200), st.binary(max_size=6))
@example(TCPLOG, 0, b"\xff:\xff")
def test_no_line_raises_anything_else(line: bytes, at: int, junk: bytes) -> None:
    try:
        record = read_line(line[:at] + junk + line[at + 1 :])
    except MalformedLogLine:
        return
    assert record.host.isprintable()
    assert record.host.isascii()


def test_what_a_client_writes_cannot_pass_for_another_line() -> None:
    forged = COMBINED.replace(b"curl/7.88.1", b"x 1795471704.732 22 10.9.9.9 " + NATIVE)
    assert read_line(forged).client == bytes([10, 1, 2, 3])
