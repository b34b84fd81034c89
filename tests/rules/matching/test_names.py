import pytest

from rules.errors import InvalidName
from rules.matching.names import ancestors, fold, is_at_or_below, normalise


@pytest.mark.parametrize(
    ("given", "canonical"),
    [
        ("Tunnels.Example.COM.", "tunnels.example.com"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("_v2-origintunneld._tcp.argotunnel.com", "_v2-origintunneld._tcp.argotunnel.com"),
    ],
)
def test_a_name_has_one_canonical_form(given: str, canonical: str) -> None:
    assert normalise(given) == canonical


@pytest.mark.parametrize(
    "bad", ["", ".", "a..b", "10.0.0.1", "::1", "exa mple.com", "-a.com", "a" * 64 + ".com", "a.b/c"]
)
def test_what_is_no_name_is_refused(bad: str) -> None:
    with pytest.raises(InvalidName):
        normalise(bad)


@pytest.mark.parametrize(
    ("wire", "folded"),
    [
        ("Connect.NGROK-agent.com", "connect.ngrok-agent.com"),
        ("connect.ngrok-agent.com.", "connect.ngrok-agent.com"),
        ("connect.ngrok-agent.com:443", "connect.ngrok-agent.com"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("[::1]:443", "[::1]"),
        ("\x00\xff", "\x00\xff"),
        # IDNA 2008 has no emoji, and URL parsers take them
        ("\U0001f41f.\uff4egrok-agent.com", "xn--no8h.ngrok-agent.com"),
        ("\U0001f41f\u3002ngrok-agent\uff0ecom\uff61", "xn--no8h.ngrok-agent.com"),
        ("\uff43onnect\u3002ngrok-agent.com", "connect.ngrok-agent.com"),
        ("\u202e.ngrok-agent.com", "\u202e.ngrok-agent.com"),
    ],
)
def test_names_from_the_wire_are_folded_and_never_refused(wire: str, folded: str) -> None:
    assert fold(wire) == folded


def test_below_means_whole_labels() -> None:
    assert is_at_or_below("a.ngrok.com", "ngrok.com")
    assert not is_at_or_below("notngrok.com", "ngrok.com")
    assert ancestors("a.b.c") == ["a.b.c", "b.c", "c"]
