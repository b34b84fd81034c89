from typing import TYPE_CHECKING

import pytest
from hellos import extension, hello_message, records, server_name, truncations, vector
from hypothesis import given
from hypothesis import strategies as st
from recordings import Recording

from sensor.errors import MalformedTls, NeedMoreData
from sensor.extract.tls import parse_client_hello, read_client_hello

if TYPE_CHECKING:
    from rules.values.observation import ClientHello

ALPN = extension(16, vector(2, vector(1, b"h2") + vector(1, b"http/1.1")))
VERSIONS = extension(43, vector(1, b"\x0a\x0a\x03\x04\x03\x03"))
ALGORITHMS = extension(13, vector(2, b"\x04\x03\x08\x04"))
MESSAGE = hello_message(server_name(b"Tunnels.Example.COM"), VERSIONS, ALPN, ALGORITHMS)


def test_a_hello_gives_what_the_client_offered() -> None:
    hello = read_client_hello(records(MESSAGE))
    assert hello.sni == "tunnels.example.com"
    assert hello.alpn == ("h2", "http/1.1")
    assert hello.versions == (0x0304, 0x0303)
    assert not hello.has_ech
    assert hello.ja4.startswith("t13d0204h2_")


def test_without_extensions_the_legacy_version_counts() -> None:
    hello = read_client_hello(records(hello_message(version=0x0301)))
    assert (hello.sni, hello.alpn, hello.versions) == (None, (), (0x0301,))
    assert hello.ja4 == "t10i020000_62ed6f6ca7ad_000000000000"


def test_encrypted_client_hello_is_told() -> None:
    assert read_client_hello(
        records(hello_message(server_name(b"cloudflare-ech.com"), extension(0xFE0D, b"x")))
    ).has_ech


@pytest.mark.parametrize(
    ("wire", "text"),
    [
        (b"TUNNEL.ngrok.com.", "tunnel.ngrok.com"),
        (b"192.0.2.1", "192.0.2.1"),
        (b"tunnel.ngrok.com\0.example.com", r"tunnel.ngrok.com\000.example.com"),
        ("bücher.example".encode(), "xn--bcher-kva.example"),
        (b"\xff\xfe", r"\255\254"),
        (b"a" * 3000, "a" * 253 + "\\"),
        (b"a" * 250 + b".tunnel.ngrok.com", "a" * 250 + ".tu\\"),
        (("ü" * 200).encode(), "\\195\\188" * 126 + "\\195\\"),
    ],
)
def test_any_server_name_is_kept_folded(wire: bytes, text: str) -> None:
    assert read_client_hello(records(hello_message(server_name(wire)))).sni == text


def test_of_several_server_names_the_first_counts() -> None:
    names = vector(
        2, b"\x01" + vector(2, b"other type") + b"\0" + vector(2, b"a.example") + b"\0" + vector(2, b"b.example")
    )
    assert read_client_hello(records(hello_message(extension(0, names)))).sni == "a.example"


def test_the_message_may_be_split_over_records_anywhere() -> None:
    whole = read_client_hello(records(MESSAGE))
    for cut in range(1, len(MESSAGE)):
        assert read_client_hello(records(MESSAGE, cut)) == whole
    assert read_client_hello(records(MESSAGE, *range(1, len(MESSAGE)))) == whole


def test_every_truncation_needs_more(large_hello: bytes) -> None:
    whole = 5 + int.from_bytes(large_hello[3:5], "big")
    for stream in (large_hello[:whole], records(MESSAGE), records(MESSAGE, 3, 50, 90)):
        for beginning in truncations(stream):
            with pytest.raises(NeedMoreData):
                read_client_hello(beginning)


def test_a_final_beginning_gives_the_name_once_it_is_there() -> None:
    stream = records(MESSAGE)
    answers: list[ClientHello | None] = []
    for beginning in truncations(stream):
        try:
            answers.append(read_client_hello(beginning, is_final=True))
        except NeedMoreData:
            answers.append(None)
    assert answers[0] is None
    first = next(at for at, hello in enumerate(answers) if hello)
    assert all(hello and hello.sni == "tunnels.example.com" and not hello.ja4 for hello in answers[first:])
    assert stream[first - 19 : first] == b"Tunnels.Example.COM"
    assert answers[-1]
    assert answers[-1].alpn == ("h2", "http/1.1")


WARNING = b"\x15\x03\x01\x00\x02\x01\x5a"


@pytest.mark.parametrize(
    "stream",
    [
        WARNING * 16 + records(MESSAGE),
        records(MESSAGE[:60]) + WARNING + records(MESSAGE[60:]),
        records(MESSAGE[:60]) + b"\x16\x03\x01\x00\x00" + records(MESSAGE[60:]),
        b"\x16\x03\x01\x00\x00" + records(MESSAGE),
        b"\x16\x0f\xff" + records(MESSAGE)[3:],
    ],
)
def test_what_servers_pass_over_is_passed_over(stream: bytes) -> None:
    """Seen of OpenSSL 3.0 (empty records) and of crypto/tls of Go (warnings, versions)."""
    assert read_client_hello(stream) == read_client_hello(records(MESSAGE))
    for beginning in truncations(stream):
        with pytest.raises(NeedMoreData):
            read_client_hello(beginning)


@pytest.mark.parametrize(
    "stream",
    [
        b"GET / HTTP/1.1\r\n",
        b"\x16\x10\x01\x00\x10",
        b"\x15\x03\x01\x00\x01",
        b"\x15\x03\x01\x00\x02\x02",  # fatal
        b"\x16\x03\x01\x41\x00",
        records(b"\x02" + MESSAGE[1:]),
        records(b"\x01\x10\x00\x00" + MESSAGE[4:]),
        records(MESSAGE[:60])[:40] + b"\x17\x03\x03\x00\x01x" * 20,
        records(MESSAGE[:3] + bytes([MESSAGE[3] - 1]) + MESSAGE[4:-1]),
        records(hello_message(ciphers=b"\x13")),
        records(hello_message(extension(0, b"\0\x05\0"))),
        records(hello_message(extension(16, b"\0\x02\x05h"))),
        records(hello_message(extension(0, vector(2, b"\0" + vector(2, b"a.example")) + b"rest"))),
        b"\x16\x03\x01\x00\x01\x01" + b"\x15\x03\x01\x00\x02\x01\x00",
    ],
)
def test_what_is_no_hello_is_malformed(stream: bytes) -> None:
    with pytest.raises(MalformedTls):
        read_client_hello(stream)


def test_octets_behind_the_message_are_ignored() -> None:
    assert parse_client_hello(MESSAGE + b"rest", "q").ja4.startswith("q13d")


def test_recorded_hellos_equal_their_manifest(recording: Recording) -> None:
    found = set()
    for head in recording.heads.values():
        if head[:1] == b"\x16" and head[5:6] == b"\x01":  # a client's, on whatever port
            hello = read_client_hello(head)
            found.add((hello.sni, hello.alpn, hello.ja4))
    behind_a_proxy = "httpproxy" in recording.manifest["name"]
    assert found == (set() if behind_a_proxy else recording.hellos("tcp"))


@given(st.binary(max_size=300), st.booleans())
def test_random_octets_raise_nothing_else(octets: bytes, is_final: bool) -> None:
    for stream in (octets, b"\x16\x03\x01\x01\x00\x01\x00\x00\xfc" + octets, records(hello_message(octets))):
        try:
            read_client_hello(stream, is_final)
        except (NeedMoreData, MalformedTls):
            continue


@given(st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), max_size=4), st.booleans())
def test_mutated_hellos_raise_nothing_else(changes: list[tuple[int, int]], is_final: bool) -> None:
    stream = bytearray(records(MESSAGE, 40))
    for position, octet in changes:
        stream[position % len(stream)] = octet
    try:
        read_client_hello(bytes(stream), is_final)
    except (NeedMoreData, MalformedTls):
        return


@given(st.binary(max_size=300))
def test_any_server_name_folds(name: bytes) -> None:
    hello = read_client_hello(records(hello_message(server_name(name))))
    assert hello.sni is None or hello.sni.isprintable()
