import pytest
from hellos import truncations
from hypothesis import given
from hypothesis import strategies as st

from sensor.errors import MalformedInput, NeedMoreData
from sensor.extract.socks import Command, SocksRequest, Version, read_socks

SOCKS4 = b"\x04\x01\x01\xbb\xc0\0\x02\x01user\0"
SOCKS4A = b"\x04\x01\x01\xbb\0\0\0\x01user\0Tunnel.ngrok.com\0"
SOCKS5 = b"\x05\x01\0" + b"\x05\x01\0\x03\x10Tunnel.ngrok.com\x01\xbb"
SOCKS5_PASSWORD = b"\x05\x02\0\x02" + b"\x01\x04user\x06secret" + b"\x05\x01\0\x01\xc0\0\x02\x01\x01\xbb"
SOCKS5_IPV6 = b"\x05\x01\0" + b"\x05\x01\0\x04" + bytes.fromhex("20010db8000000000000000000000001") + b"\x01\xbb"
ALL = [SOCKS4, SOCKS4A, SOCKS5, SOCKS5_PASSWORD, SOCKS5_IPV6]


@pytest.mark.parametrize(
    ("stream", "version", "host"),
    [
        (SOCKS4, Version.SOCKS4, "192.0.2.1"),
        (SOCKS4A, Version.SOCKS4, "tunnel.ngrok.com"),
        (SOCKS5, Version.SOCKS5, "tunnel.ngrok.com"),
        (SOCKS5_PASSWORD, Version.SOCKS5, "192.0.2.1"),
        (SOCKS5_IPV6, Version.SOCKS5, "2001:db8::1"),
    ],
)
def test_the_request_says_where_the_client_wants_to_go(stream: bytes, version: Version, host: str) -> None:
    expected = SocksRequest(version, Command.CONNECT, host, 443, len(stream))
    assert read_socks(stream + b"\x16\x03\x01") == expected


def test_credentials_are_not_kept() -> None:
    assert "secret" not in repr(read_socks(SOCKS5_PASSWORD))
    assert "user" not in repr(read_socks(SOCKS4A))


@pytest.mark.parametrize("stream", ALL)
def test_every_truncation_needs_more(stream: bytes) -> None:
    for beginning in truncations(stream):
        with pytest.raises(NeedMoreData):
            read_socks(beginning)


@pytest.mark.parametrize(
    "stream",
    [
        b"\x06",
        b"\x04\x09",
        b"\x04\x01\0\0\xc0\0\x02\x01\0",
        b"\x04\x01\x01\xbb\0\0\0\0\0",
        b"\x04\x01\x01\xbb\xc0\0\x02\x01" + b"a" * 300,
        b"\x04\x01\x01\xbb\xc0\0\x02\x01\x01",
        b"\x04\x01\x01\xbb\0\0\0\x01\0\0",
        b"\x05\0",
        b"\x05\x01\0\x07",
        b"\x05\x01\0\x01\x04user",
        b"\x05\x01\0\x05\x07\0",
        b"\x05\x01\0\x05\x01\x01",
        b"\x05\x01\0\x05\x01\0\x09",
        b"\x05\x01\0\x05\x01\0\x03\0\0\0",
    ],
)
def test_what_is_no_socks_is_malformed(stream: bytes) -> None:
    with pytest.raises(MalformedInput):
        read_socks(stream)


@given(st.sampled_from([b"", b"\x04", b"\x05", b"\x05\x01\0", *ALL]), st.binary(max_size=80), st.integers(0, 40))
def test_random_octets_raise_nothing_else(start: bytes, octets: bytes, cut: int) -> None:
    try:
        read_socks(start[: len(start) - cut] + octets)
    except (NeedMoreData, MalformedInput):
        return
