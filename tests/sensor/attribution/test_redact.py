import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensor.attribution.redact import MAX_CHARACTERS, redact

TOKEN = "2abcdefghijklmnopqrstuvwxyz_1234567890abcdefghijk"  # noqa: S105 - made up


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        (["ngrok", "http", "8080"], "ngrok http 8080"),
        (["ngrok", "http", "--authtoken", "short", "8080"], "ngrok http --authtoken *** 8080"),
        (["ngrok", "http", "--authtoken=short"], "ngrok http --authtoken=***"),
        (["ngrok", "config", "add-authtoken", "short"], "ngrok config add-authtoken ***"),
        (["cloudflared", "tunnel", "run", "--token", TOKEN], "cloudflared tunnel run --token ***"),
        (["x", TOKEN], "x ***"),
        (["curl", "-u", "alice:wonder", "https://bob:builder@example.com/"], "curl -u *** https://***@example.com/"),
        (["curl", "-H", "Authorization: Bearer abc"], "curl -H Authorization: ***"),
        (["sh", "-c", "API_KEY=abc run --password=x y"], "sh -c API_KEY=*** run --password=*** y"),
        (["/usr/lib/python3.11/site-packages/agent", "connect.ngrok-agent.com:443"], None),
        (["ssh", "-R", "80:localhost:3000", "serveo.net"], None),
    ],
)
def test_secrets_are_hidden_and_the_rest_stays(arguments: list[str], shown: str | None) -> None:
    assert redact(arguments) == (shown or " ".join(arguments))


@given(st.lists(st.text(max_size=700), max_size=8))
def test_the_line_is_bounded_and_printable(arguments: list[str]) -> None:
    shown = redact([*arguments, "--token", TOKEN])
    assert len(shown) <= MAX_CHARACTERS
    assert TOKEN not in shown
    assert shown == "" or shown.isprintable()
