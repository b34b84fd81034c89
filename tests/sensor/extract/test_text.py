import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensor.extract.text import escape, escape_line, fold_host


@pytest.mark.parametrize(
    ("octets", "text"),
    [(b"h2", "h2"), (b"a b", r"a\032b"), (b"a\\b", r"a\092b"), (b"\x00\x7f\xff", r"\000\127\255"), (b"", "")],
)
def test_what_does_not_print_is_escaped(octets: bytes, text: str) -> None:
    assert escape(octets) == text


@given(st.binary(max_size=40))
def test_two_octet_strings_never_look_alike(octets: bytes) -> None:
    text = escape(octets)
    assert text.isascii()
    assert text.isprintable()
    parts = text.split("\\")
    back = parts[0] + "".join(chr(int(part[:3])) + part[3:] for part in parts[1:])
    assert back.encode("latin-1") == octets


def test_a_line_keeps_its_spaces() -> None:
    assert escape_line(b"SSH-2.0-a b\tc") == r"SSH-2.0-a b\009c"


@given(st.text(max_size=400) | st.binary(max_size=400))
def test_folding_never_fails(host: str | bytes) -> None:
    octets = host if isinstance(host, bytes) else host.encode("utf-8", "surrogatepass")
    assert fold_host(octets).isprintable()
