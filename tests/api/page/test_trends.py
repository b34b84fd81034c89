"""What people look at rather than read: the week on the overview, and when a finding was seen."""

import itertools
import json
import re

import httpx
import pytest
from installation import NOW_NS, SECOND_NS, Installation

from db.workflow.values import ExceptionStatus, StoredException
from rules.values.observation import FlowState
from rules.values.verdict import Outcome

HOUR_NS = 3600 * SECOND_NS


def series(text: str, chart: str) -> list[list[int]]:
    found = re.search(rf'id="{chart}-series" data-series="([^"]*)"', text)
    assert found
    numbers: list[list[int]] = json.loads(found[1])
    return numbers


def test_the_week_is_drawn_by_verdict(installation: Installation, client: httpx.Client) -> None:
    installation.add(observed_at_ns=NOW_NS - 7 * 24 * HOUR_NS, src_ip="10.20.0.99")  # before the week
    for hours in (0, 1, 50, 51):
        installation.add(observed_at_ns=NOW_NS - hours * HOUR_NS)
    installation.add(observed_at_ns=NOW_NS, verdict=Outcome.SANCTIONED)
    times, sanctioned, unsanctioned, suspicious = series(client.get("/").text, "week")
    assert len(times) == 56
    assert {later - earlier for earlier, later in itertools.pairwise(times)} == {3 * 3600}
    assert times[-1] <= NOW_NS // SECOND_NS < times[-1] + 3 * 3600
    assert (sum(sanctioned), sum(unsanctioned), sum(suspicious)) == (1, 4, 0)
    at_ns = {time: count for time, count in zip(times, unsanctioned, strict=True) if count}
    assert sum(count for time, count in at_ns.items() if NOW_NS // SECOND_NS - time > 40 * 3600) == 2


def test_services_and_sources_lead_to_their_findings(installation: Installation, client: httpx.Client) -> None:
    for number in range(3):
        installation.add(src_ip="10.20.0.1", observed_at_ns=NOW_NS - number)
    installation.add(src_ip="10.20.0.1", service="bore", state=FlowState.BLOCKED)
    installation.add(src_ip="10.20.0.2", service="tunnels<b>", state=FlowState.ATTEMPTED)
    installation.add(src_ip="10.20.0.3", verdict=Outcome.SANCTIONED)
    text = client.get("/").text
    bars = text[text.index('id="trends"') : text.index('id="findings"')]
    for link in ("/findings?service=ngrok", "/findings?service=tunnels%3Cb%3E", "/findings?src=10.20.0.1"):
        assert f'<a href="{link}">' in bars
    assert bars.index("service=ngrok") < bars.index("service=bore")
    assert bars.index("src=10.20.0.1") < bars.index("src=10.20.0.2")
    assert "src=10.20.0.3" not in bars
    assert '<td title="3 live">' in bars
    assert '<td title="1 live, 1 blocked">' in bars


def test_who_sees_no_names_sees_none_in_the_bars(installation: Installation, client: httpx.Client) -> None:
    installation.add()
    text = client.get("/?names=false").text
    assert 'id="trends"' in text
    assert "10.20.0.7" not in text


@pytest.mark.parametrize(
    ("spent_s", "step_s"), [(50 * 60, 60), (5 * 3600, 600), (48 * 3600, 3600), (90 * 24 * 3600, 24 * 3600)]
)
def test_a_finding_shows_when_it_was_seen(
    installation: Installation, client: httpx.Client, spent_s: int, step_s: int
) -> None:
    installation.add(observed_at_ns=NOW_NS - spent_s * SECOND_NS, state=FlowState.BLOCKED)
    installation.add()
    installation.add()
    finding_id = client.get("/v1/findings").json()["items"][0]["finding_id"]
    times, live, attempted, blocked = series(client.get(f"/findings/{finding_id}").text, "activity")
    assert len(times) <= 60
    assert times[1] - times[0] == step_s
    assert (sum(live), sum(attempted), live[-1]) == (2, 0, 2)
    assert sum(blocked) == (times[0] <= NOW_NS // SECOND_NS - spent_s)


def test_what_is_sanctioned_is_not_part_of_a_finding(installation: Installation, client: httpx.Client) -> None:
    for minutes in range(60):
        at_ns = NOW_NS - minutes * 60 * SECOND_NS
        installation.add(observed_at_ns=at_ns, verdict=Outcome.SANCTIONED, dst_name="tunnels.example.com")
    installation.add(observed_at_ns=NOW_NS - HOUR_NS, verdict=Outcome.SUSPICIOUS, dst_name="first.example")
    installation.add(observed_at_ns=NOW_NS, dst_name="last.example")
    finding_id = client.get("/v1/findings").json()["items"][0]["finding_id"]
    text = client.get(f"/findings/{finding_id}").text
    assert "tunnels.example.com" not in text
    assert text.index('name">last.example') < text.index('name">first.example')
    assert "There are more" not in text
    assert sum(map(sum, series(text, "activity")[1:])) == 2


def test_a_finding_says_who_allowed_it(installation: Installation, client: httpx.Client) -> None:
    installation.add()
    finding_id = client.get("/v1/findings").json()["items"][0]["finding_id"]
    installation.store.set_finding_exceptions({finding_id: "e1"}, NOW_NS)
    assert "exception e1" in client.get(f"/findings/{finding_id}").text
    allowed = StoredException(
        exception_id="e1",
        status=ExceptionStatus.ACTIVE,
        service="ngrok",
        sources=("10.20.0.7",),
        owner="it@example.com",
        reason="pilot <until> spring",
        requested_by="alice",
        requested_at_ns=NOW_NS,
    )
    assert installation.store.policy.add_exception(allowed)
    text = client.get(f"/findings/{finding_id}").text
    for said in ("pilot &lt;until&gt; spring", "it@example.com</bdi> answers for it", "asked for by <bdi>alice</bdi>"):
        assert said in text


def test_events_have_other_windows_and_files_of_the_same_filter(
    installation: Installation, client: httpx.Client
) -> None:
    installation.add(service="bore", observed_at_ns=NOW_NS - 48 * HOUR_NS)
    text = client.get("/events?service=bore&dst=connect.ngrok-agent.com").text
    assert "10.20.0.7" not in text
    links = dict(re.findall(r'<a href="([^"]*)">(7 days|CSV)</a>', text))
    windows = {name: address.replace("&amp;", "&") for address, name in links.items()}
    assert "10.20.0.7" in client.get(windows["7 days"]).text
    assert "service=bore" in windows["CSV"]
    assert client.get(windows["CSV"] + "&from=2026-11-01T00:00:00Z").text.count("10.20.0.7") == 1
    kept = '<input type="hidden" name="dst" value="connect.ngrok-agent.com">'  # a form keeps what it has no field for
    assert kept in text
