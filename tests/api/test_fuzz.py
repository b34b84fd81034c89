"""Whatever is asked, the answer is never a crash, and every error is a problem."""

from urllib.parse import quote

import httpx
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from installation import Installation

PARAMETERS = (
    *("from", "to", "src", "dst", "service", "verdict", "role", "severity", "state", "tunnel_state", "sensor", "q"),
    *("action", "limit", "cursor", "comments", "empty", "by", "metric", "interval", "format", "after"),
)
PATHS = (
    *(
        "/v1/events",
        "/v1/events/aggregate",
        "/v1/events/export",
        "/v1/findings",
        "/v1/services",
        "/v1/sensors",
        "/v1/policy",
        "/healthz",
    ),
    *("/feeds/unsanctioned-domains.txt", "/feeds/unsanctioned-domains.rpz", "/"),
)
TELLING = st.sampled_from(
    (
        *("", "0", "-1", "1e9", "²", "٣", "null", "9" * 30, "a" * 300, "ß.example", "xn--a", "%", "_", "\\", "\udcff"),
        *("2026-11-23T19:00:00Z", "2026-02-30T00:00:00Z", "2026-11-23T23:59:60Z", "0001-01-01T00:00:00+23:59"),
        *("service,src", "1h", "99999d", "bytes", "ocsf", "csv"),
        *("10.0.0.1", "::1%eth0", "fe80::1%25", "1.2.3.4/8", "live", "high", "' OR 1=1 --", "e30.e30"),
    )
)
TEXT = st.one_of(TELLING, st.text(max_size=40))
RELAXED = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)


def encoded(text: str) -> str:
    return quote(text.encode("utf-8", "surrogatepass"))


def check(answer: httpx.Response) -> None:
    assert answer.status_code < 500 or answer.status_code == 503, answer.text
    if answer.status_code >= 400:
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["detail"]


@RELAXED
@given(path=st.sampled_from(PATHS), pairs=st.lists(st.tuples(st.sampled_from(PARAMETERS), TEXT), max_size=4))
def test_parameters(client: httpx.Client, path: str, pairs: list[tuple[str, str]]) -> None:
    query = "&".join(f"{name}={encoded(value)}" for name, value in pairs)
    check(client.get(f"{path}?{query}"))


@RELAXED
@given(segments=st.lists(TEXT, min_size=1, max_size=3))
def test_paths(client: httpx.Client, segments: list[str]) -> None:
    check(client.get("/" + "/".join(encoded(segment) for segment in segments)))
    check(client.get(f"/v1/events/{encoded(segments[0])}"))
    check(client.get(f"/feeds/{encoded(segments[0])}"))


@RELAXED
@given(
    name=st.sampled_from(["If-None-Match", "If-Modified-Since", "Accept-Encoding", "Range", "Host", "Accept"]),
    value=st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=60),
)
def test_headers(installation: Installation, client: httpx.Client, name: str, value: str) -> None:
    installation.publish_both()
    check(client.get("/feeds/unsanctioned-domains.txt", headers={name: value.strip()}))
