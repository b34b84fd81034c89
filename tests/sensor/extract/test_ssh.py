import pytest
from hellos import truncations
from hypothesis import given
from hypothesis import strategies as st
from recordings import Recording

from sensor.errors import MalformedInput, NeedMoreData
from sensor.extract.ssh import read_banner

BANNER = b"SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u10\r\n"


def test_the_banner_comes_without_its_line_end() -> None:
    assert read_banner(BANNER + b"\0\0\x05") == "SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u10"
    assert read_banner(b"SSH-1.99-x\n") == "SSH-1.99-x"


def test_a_server_may_send_lines_first() -> None:
    assert read_banner(b"Welcome\r\nto this host\r\n" + BANNER).startswith("SSH-2.0-OpenSSH")


def test_octets_that_do_not_print_are_escaped() -> None:
    assert read_banner(b"SSH-2.0-a\x1b[31m\xff b\r\n") == r"SSH-2.0-a\027[31m\255 b"


@pytest.mark.parametrize("stream", [BANNER, b"Welcome\r\n" + BANNER])
def test_every_truncation_needs_more(stream: bytes) -> None:
    for beginning in truncations(stream):
        with pytest.raises(NeedMoreData):
            read_banner(beginning)


@pytest.mark.parametrize(
    "stream",
    [
        b"SSH-x",
        b"SSH-2.0-a\0b\r\n",
        b"SSH-2.0-\r\n",
        b"\x16\x03\x01",
        b"line\r\n" * 200,
        b"line\r\n" * 200 + BANNER,
    ],
)
def test_what_is_no_banner_is_malformed(stream: bytes) -> None:
    with pytest.raises(MalformedInput):
        read_banner(stream)


@pytest.mark.parametrize("rest", [b"", b"a", b"a" * 1000 + b"\r\n"])
def test_of_a_line_that_is_too_long_its_beginning_is_read(rest: bytes) -> None:
    assert read_banner(b"SSH-2.0-" + b"a" * 247 + rest) == "SSH-2.0-" + "a" * 247


def test_recorded_banners_equal_their_manifest(recording: Recording) -> None:
    expected = {entry[side] for entry in recording.manifest["ssh"] for side in ("client_banner", "server_banner")}
    ssh_heads = [head for flow, head in recording.heads.items() if 22 in flow or head.startswith(b"SSH-")]
    assert {read_banner(head) for head in ssh_heads} == expected


@given(st.binary(max_size=300))
def test_random_octets_raise_nothing_else(octets: bytes) -> None:
    for stream in (octets, b"SSH-" + octets, b"SSH-2.0-" + octets, b"hello\r\n" + octets):
        try:
            assert read_banner(stream).isprintable()
        except (NeedMoreData, MalformedInput):
            continue
