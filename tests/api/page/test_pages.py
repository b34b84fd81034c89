"""The sections of the page over HTTP: what a filter lets through, every row once, and nothing of a packet as markup."""

import re
from html.parser import HTMLParser

import httpx
import pytest
from installation import NOW_NS, POLICY, SECOND_NS, Installation, names_of

from db.lists.values import SnapshotRow
from rules.lists.blocklist import ListName
from rules.lists.encoding import digest, encode
from rules.lists.guards import Guard, HeldList, Refusal
from rules.values.event import DEMONSTRATION, EventReason, rfc3339
from rules.values.observation import FlowState, Kind
from rules.values.verdict import Outcome, Role, Severity

HOSTILE = "<script>alert(1)</script>"
SECTIONS = ("/", "/findings", "/events", "/services", "/lists", "/sensors", "/policy", "/outputs", "/tokens", "/audit")


def sources(text: str) -> list[str]:
    return re.findall(r'class="who" href="[^"]*">([^<]*)<', text)


class Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: dict[str, str] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "a" and given.get("rel") == "next":
            self.found["next"] = given["href"] or ""


def next_of(text: str) -> str | None:
    links = Links()
    links.feed(text)
    return links.found.get("next")


@pytest.fixture
def varied(installation: Installation) -> Installation:
    installation.beat()
    installation.publish_both()
    installation.add(src_ip="10.20.0.1")
    installation.add(src_ip="10.20.0.2", service="bore", severity=Severity.MEDIUM, verdict=Outcome.SUSPICIOUS)
    installation.add(src_ip="10.20.0.3", role=Role.VISITOR, severity=Severity.LOW, state=FlowState.BLOCKED)
    return installation


@pytest.mark.usefixtures("varied")
@pytest.mark.parametrize("path", SECTIONS)
def test_every_section_is_there_and_says_where_one_is(client: httpx.Client, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert f'<a href="{path}" aria-current="page">' in answer.text


@pytest.mark.usefixtures("varied")
@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("", {"10.20.0.1", "10.20.0.2", "10.20.0.3"}),
        ("?service=bore", {"10.20.0.2"}),
        ("?severity=low&role=visitor", {"10.20.0.3"}),
        ("?tunnel_state=blocked", {"10.20.0.3"}),
        ("?src=10.20.0.1", {"10.20.0.1"}),
        ("?q=20.0.2", {"10.20.0.2"}),
        ("?q=&service=&state=open&src=", {"10.20.0.1", "10.20.0.2", "10.20.0.3"}),
        ("?state=resolved", set()),
    ],
)
def test_the_address_holds_the_filter(client: httpx.Client, query: str, shown: set[str]) -> None:
    assert set(sources(client.get(f"/findings{query}").text)) == shown


@pytest.mark.usefixtures("varied")
@pytest.mark.parametrize("path", ["/findings", "/events"])
@pytest.mark.parametrize("query", ["severity=worst", "limit=0", "nonsense=1", "src=somebody"])
def test_a_filter_that_cannot_be_used_is_said(client: httpx.Client, path: str, query: str) -> None:
    answer = client.get(f"{path}?{query}")
    assert answer.status_code == 422
    assert f"The filter cannot be used. {query.partition('=')[0]}" in answer.text
    assert "10.20.0.2" in answer.text


@pytest.mark.usefixtures("varied")
def test_a_form_keeps_what_was_chosen(client: httpx.Client) -> None:
    text = client.get("/findings?service=bore&severity=medium&q=20").text
    assert '<option value="bore" selected>' in text
    assert '<option value="medium" selected>' in text
    assert 'value="20"' in text


@pytest.mark.parametrize("path", ["/findings", "/events"])
def test_every_row_is_on_one_page(installation: Installation, client: httpx.Client, path: str) -> None:
    for number in range(7):
        installation.add(src_ip=f"10.20.1.{number}", observed_at_ns=NOW_NS - number * SECOND_NS)
    address, seen = f"{path}?limit=3&service=ngrok", []
    while address:
        text = client.get(address).text
        seen += re.findall(r"10\.20\.1\.\d", re.sub(r'="[^"]*"', "", text))
        address = next_of(text) or ""
    assert seen == [f"10.20.1.{number}" for number in range(7)]


def test_a_cursor_of_another_filter_is_refused(installation: Installation, client: httpx.Client) -> None:
    installation.add_many(3)
    address = next_of(client.get("/events?limit=1").text)
    assert address
    assert client.get(address.replace("limit=1", "limit=1&service=bore")).status_code == 400


@pytest.mark.parametrize(
    ("query", "current"),
    [
        ("", ["24 hours"]),
        (f"from={rfc3339(NOW_NS - 3600 * SECOND_NS)}", ["1 hour"]),
        (f"from={rfc3339(NOW_NS - 3780 * SECOND_NS)}&verdict=suspicious", ["1 hour"]),
        (f"from={rfc3339(NOW_NS - 7200 * SECOND_NS)}", []),
        (f"from={rfc3339(NOW_NS - 3600 * SECOND_NS)}&to={rfc3339(NOW_NS)}", []),
    ],
)
def test_the_time_that_is_shown_is_marked(client: httpx.Client, query: str, current: list[str]) -> None:
    text = client.get(f"/events?{query}").text
    assert re.findall(r'<a href="[^"]*" aria-current="true">([^<]*)</a>', text) == current


def test_events_are_those_of_a_day_unless_asked(installation: Installation, client: httpx.Client) -> None:
    installation.add(src_ip="10.20.0.8", observed_at_ns=NOW_NS - 25 * 3600 * SECOND_NS)
    assert "10.20.0.8" not in client.get("/events").text
    assert "10.20.0.8" in client.get("/events?from=2026-11-01T00:00:00Z").text


def test_a_finding_tells_its_story(installation: Installation, client: httpx.Client) -> None:
    event = installation.add()
    installation.add(
        kind=Kind.DNS, dst_ip="10.20.0.53", dst_port=53, state=FlowState.ATTEMPTED, observed_at_ns=NOW_NS - 5
    )
    installation.add(service="bore", dst_name="bore.pub")
    installation.add(src_ip="10.20.0.99")
    finding = next(row for row in client.get("/v1/findings?src=10.20.0.7&service=ngrok").json()["items"])
    text = client.get(f"/findings/{finding['finding_id']}").text
    for sentence in client.get(f"/v1/events/{event.event_id}").json()["explanation"]:
        assert sentence.replace("'", "&#39;") in text
    assert "connect.ngrok-agent.com at 203.0.113.9" in text
    assert "connect.ngrok-agent.com, asked of 10.20.0.53" in text
    assert "What else 10.20.0.7 did" in text
    assert "bore.pub" in text
    assert "10.20.0.99" not in text


def test_a_finding_that_is_not_there(client: httpx.Client) -> None:
    assert client.get("/findings/none").status_code == 404


def test_services_that_were_seen_come_first(varied: Installation, client: httpx.Client) -> None:
    varied.add(src_ip="10.20.0.4", service="gone-from-the-catalogue", observed_at_ns=NOW_NS - SECOND_NS)
    text = client.get("/services").text
    assert text.index('id="service-ngrok"') < text.index('id="service-gone-from-the-catalogue"')
    assert "no longer in the catalogue" in text


def test_a_sensor_says_what_it_lost(installation: Installation, client: httpx.Client) -> None:
    installation.beat(interface_drops={"eth7": 41}, kernel_drops=41, evicted={"flows": 7})
    text = client.get("/sensors").text
    assert "The kernel dropped 41 packets" in text
    assert re.search(r"eth7</td><td[^>]*>41<", text)
    assert re.search(r"flows</td><td[^>]*>7<", text)


@pytest.mark.parametrize(
    "path",
    [
        *sorted({*SECTIONS} - {"/lists", "/outputs", "/tokens", "/audit"}),
        "/findings?q=%3Cscript%3Ealert(1)%3C/script%3E",
        "finding",
    ],
)
def test_nothing_that_a_packet_said_becomes_markup(installation: Installation, client: httpx.Client, path: str) -> None:
    installation.beat(hostname=HOSTILE, engine_reason=HOSTILE, policy_error=HOSTILE, evicted={HOSTILE: 1})
    installation.set_policy(error=HOSTILE, warnings=(HOSTILE,), path=HOSTILE)
    installation.add(
        dst_name=HOSTILE,
        service=HOSTILE,
        src_user=HOSTILE,
        src_host=HOSTILE,
        reasons=(EventReason("tls_sni", HOSTILE, HOSTILE),),
    )
    finding_id = client.get("/v1/findings").json()["items"][0]["finding_id"]
    answer = client.get(f"/findings/{finding_id}" if path == "finding" else path)
    assert answer.status_code == 200
    assert HOSTILE not in answer.text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in answer.text


def steps(text: str) -> dict[str, bool]:
    found = re.findall(r'<li class="(done|next)">\s*<p><strong>([^<]*)<', text)
    return {title: state == "done" for state, title in found}


def test_first_steps_go_once_all_are_done(installation: Installation, client: httpx.Client) -> None:
    installation.set_policy(sanctioned=())
    assert not any(steps(client.get("/").text).values())
    assert len(steps(client.get("/").text)) == 5
    installation.beat(packets=0, observations=0)
    assert steps(client.get("/").text)["A sensor is capturing"]
    assert not steps(client.get("/").text)["It sees traffic"]
    installation.beat(packets=7, observations=3, heartbeat_ns=NOW_NS + 1)
    installation.add(sensor_id=DEMONSTRATION)
    before = steps(client.get("/").text)
    assert before == {
        "A sensor is capturing": True,
        "It sees traffic": True,
        "It reads names": True,
        "It recognises a tunnel": False,
        "It knows what is sanctioned": False,
    }
    installation.add()
    installation.policy = POLICY
    assert "first-steps" not in client.get("/").text


def test_what_a_demonstration_shows_is_marked(installation: Installation, client: httpx.Client) -> None:
    installation.add(sensor_id=DEMONSTRATION)
    finding_id = client.get("/v1/findings").json()["items"][0]["finding_id"]
    event_id = client.get("/v1/events").json()["items"][0]["event_id"]
    for path in ("/", "/findings", "/events", f"/findings/{finding_id}", f"/events/{event_id}"):
        assert '<span class="tag demonstration">' in client.get(path).text


def test_a_demonstration_is_removed_and_written_down(installation: Installation, client: httpx.Client) -> None:
    installation.add()
    for path in ("/", "/findings"):
        assert "Remove the demonstration" not in client.get(path).text
    installation.add(sensor_id=DEMONSTRATION, src_ip="192.0.2.10", service="bore")
    assert "Remove the demonstration" in client.get("/").text
    assert client.delete("/v1/demonstration").json() == {"events": 1}
    assert "192.0.2.10" not in client.get("/").text
    assert [row["src_ip"] for row in client.get("/v1/events").json()["items"]] == ["10.20.0.7"]
    assert client.get("/v1/audit?action=demonstration.delete").json()["items"][0]["outcome"] == "done"


def test_a_list_that_is_not_built_says_why(installation: Installation, client: httpx.Client) -> None:
    installation.unbuilt = "no listed name has an address: does <this> host have a DNS server?"
    for path in ("/", "/lists"):
        assert "No listed name has an address: does &lt;this&gt; host have a DNS server?" in client.get(path).text


def test_without_a_recording_there_is_no_demonstration(client: httpx.Client) -> None:
    assert "/v1/demonstration" not in client.get("/").text
    assert client.post("/v1/demonstration").status_code == 404


@pytest.mark.parametrize(
    ("path", "accept", "kind"),
    [
        ("/findings/none", "text/html,*/*", "text/html; charset=utf-8"),
        ("/nowhere", "text/html", "text/html; charset=utf-8"),
        ("/findings/none", "*/*", "application/problem+json"),
        ("/v1/findings/none", "text/html", "application/problem+json"),
        ("/feeds/none.txt", "text/html", "application/problem+json"),
    ],
)
def test_a_problem_is_a_page_for_people(client: httpx.Client, path: str, accept: str, kind: str) -> None:
    answer = client.get(path, headers={"Accept": accept})
    assert answer.status_code == 404
    assert answer.headers["content-type"] == kind


def test_a_lost_database_is_said_on_the_page(installation: Installation, client: httpx.Client) -> None:
    installation.break_database()
    answer = client.get("/findings", headers={"Accept": "text/html"})
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "10"
    assert "The database does not answer" in answer.text


LIST = "/lists/unsanctioned-domains"


def test_a_list_shows_its_entries_and_where_to_pull_it(installation: Installation, client: httpx.Client) -> None:
    installation.publish(names_of("ngrok-agent.com =bore.pub", "tunnels.example.com"))
    text = client.get(LIST).text
    for entry in ("*.ngrok-agent.com", "bore.pub", "*.tunnels.example.com"):
        assert f'<bdi class="name">{entry}</bdi>' in text
    assert f"{installation.url}/feeds/unsanctioned-domains.pan-os.txt" in text
    narrowed = client.get(f"{LIST}?q=bore").text
    assert '<bdi class="name">bore.pub</bdi>' in narrowed
    assert "ngrok-agent.com" not in narrowed


def test_a_long_list_is_shown_in_pages(installation: Installation, client: httpx.Client) -> None:
    installation.publish(names_of(" ".join(f"=n{number:03}.example" for number in range(130))))
    address, seen = f"{LIST}?q=example", []
    while address:
        text = client.get(address).text
        seen += re.findall(r'class="name">([^<]*)<', text)
        address = next_of(text) or ""
    assert seen == [f"n{number:03}.example" for number in range(130)]


def test_a_list_says_what_changed(installation: Installation, client: httpx.Client) -> None:
    for words in ("=one.example =two.example", "=two.example =three.example"):
        body = names_of(words)
        row = SnapshotRow("unsanctioned-domains", 1, NOW_NS, digest(body), encode(body))
        serial = installation.store.publish_snapshot(row).serial
        installation.publish(body, serial)
    text = client.get(LIST).text
    assert re.search(r"Serial 2,.*: 1 added, 1 removed", text)
    assert "+ <bdi>three.example</bdi>" in text
    assert "\N{MINUS SIGN} <bdi>one.example</bdi>" in text
    assert '<bdi class="name">one.example</bdi>' in client.get(f"{LIST}?serial=1").text


@pytest.mark.parametrize("guard", [Guard.SHRINK, Guard.SANCTIONED_NAME])
def test_a_held_list_can_be_confirmed_unless_it_would_break_something(
    installation: Installation, client: httpx.Client, guard: Guard
) -> None:
    installation.publish(names_of("=one.example"))
    held = HeldList("d" * 64, (Refusal(guard, "half of the entries would go"),), 4)
    installation.held[ListName.UNSANCTIONED_DOMAINS] = held
    text = client.get(LIST).text
    assert "half of the entries would go" in text
    assert ("right: publish it" in text) == (guard is Guard.SHRINK)


@pytest.mark.parametrize("path", ["/lists/none", f"{LIST}?serial=99"])
def test_a_list_that_is_not_there(client: httpx.Client, path: str) -> None:
    assert client.get(path, headers={"Accept": "text/html"}).status_code in {404, 422}


def test_a_list_says_who_pulls_it(installation: Installation, client: httpx.Client) -> None:
    installation.publish_both()
    assert "Nobody has pulled it yet" in client.get(LIST).text
    client.get("/feeds/unsanctioned-domains.txt", headers={"User-Agent": "<b>PAN-OS</b>"})
    text = client.get(LIST).text
    assert "&lt;b&gt;PAN-OS&lt;/b&gt;" in text
    assert "<b>PAN-OS" not in text
    assert "1 pulls it, none is behind" in client.get("/lists").text
