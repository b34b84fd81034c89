import json
from collections.abc import Callable

import httpx
import pytest
from installation import Installation

from api.schemas.events import EventDetail, EventPage
from rules.values.event import Event, rfc3339, to_document
from rules.values.observation import FlowState
from rules.values.verdict import Outcome, Role, Severity

HOUR_NS = 3600 * 10**9
SECOND_NS = 10**9


def ids(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [item["event_id"] for item in answer.json()["items"]]


def walk(client: httpx.Client, path: str, between: Callable[[], object] = lambda: None) -> list[str]:
    """Return the ids of every page, following the Link header."""
    found: list[str] = []
    while True:
        answer = client.get(path)
        found += ids(answer)
        assert (answer.json()["next"] is None) == ("next" not in answer.links)
        if "next" not in answer.links:
            return found
        path = answer.links["next"]["url"]
        between()


def test_an_event_is_answered_as_the_rules_write_it(installation: Installation, client: httpx.Client) -> None:
    event = installation.add()
    document = json.loads(json.dumps(to_document(event)))
    assert client.get("/v1/events").json() == {"items": [document], "next": None}
    detail = client.get(f"/v1/events/{event.event_id}").json()
    assert detail.pop("explanation")[0].startswith("10.20.0.7 runs a tunnel of ")
    assert detail == document


def test_the_documents_are_those_of_the_description(installation: Installation, client: httpx.Client) -> None:
    event = installation.add()
    EventPage.model_validate(client.get("/v1/events").json())
    EventDetail.model_validate(client.get(f"/v1/events/{event.event_id}").json())


def test_an_unknown_event_is_a_problem(client: httpx.Client) -> None:
    answer = client.get("/v1/events/019ab1f0-8c00-7000-8000-00000000002a")
    assert answer.status_code == 404
    assert answer.json()["type"] == "urn:molecatcher:problem:not-found"


def test_the_last_day_is_the_default(installation: Installation, client: httpx.Client) -> None:
    now_ns = installation.now_ns
    old = installation.add(observed_at_ns=now_ns - 25 * HOUR_NS)
    new = installation.add(observed_at_ns=now_ns - 23 * HOUR_NS)
    assert ids(client.get("/v1/events")) == [new.event_id]
    assert ids(client.get("/v1/events", params={"to": rfc3339(now_ns)})) == [new.event_id, old.event_id]
    assert ids(client.get("/v1/events", params={"from": "2026-01-01T00:00:00Z"})) == [new.event_id, old.event_id]


def test_from_is_included_and_to_is_not(installation: Installation, client: httpx.Client) -> None:
    events = installation.add_many(3)
    window = {"from": rfc3339(events[2].observed_at_ns), "to": rfc3339(events[0].observed_at_ns)}
    assert ids(client.get("/v1/events", params=window)) == [events[1].event_id, events[2].event_id]


def test_times_may_have_an_offset(installation: Installation, client: httpx.Client) -> None:
    event = installation.add()
    answer = client.get("/v1/events", params={"from": "2026-11-23T20:59:59.5+02:00"})
    assert ids(answer) == [event.event_id]


@pytest.mark.parametrize(
    ("fields", "query"),
    [
        ({"src_ip": "10.20.0.8"}, {"src": "10.20.0.8"}),
        ({"src_ip": "2001:db8::7"}, {"src": "2001:DB8:0::7"}),
        ({"src_ip": "10.20.9.8"}, {"src": "10.20.8.0/22"}),
        ({"src_ip": "10.20.1.8"}, {"src": "10.20.1.77/24", "verdict": "unsanctioned", "q": "ngrok"}),
        ({"src_ip": "2001:db8::1:2"}, {"src": "2001:db8::/64"}),
        ({"dst_ip": "198.51.100.77"}, {"dst": "198.51.100.0/25"}),
        ({"dst_ip": "203.0.113.77"}, {"dst": "203.0.113.77"}),
        ({"dst_name": "tunnel.us.ngrok.com"}, {"dst": "Tunnel.US.ngrok.com."}),
        ({"service": "bore"}, {"service": "bore"}),
        ({"service": None}, {"service": ""}),
        ({"verdict": Outcome.SUSPICIOUS}, {"verdict": "suspicious"}),
        ({"role": Role.VISITOR}, {"role": "visitor"}),
        ({"severity": Severity.LOW}, {"severity": "low"}),
        ({"state": FlowState.BLOCKED}, {"state": "blocked"}),
        ({"state": FlowState.BLOCKED}, {"action": "blocked"}),
        ({"state": FlowState.ATTEMPTED}, {"action": "observed"}),
        ({"sensor_id": "laptop-3"}, {"sensor": "laptop-3"}),
        ({"dst_name": "a.lhr.life"}, {"q": "LHR"}),
    ],
)
def test_a_filter_finds_what_it_names(
    installation: Installation, client: httpx.Client, fields: dict[str, object], query: dict[str, str]
) -> None:
    installation.add()
    wanted = installation.add(**fields)
    assert ids(client.get("/v1/events", params=query)) == [wanted.event_id]


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=501",
        "limit=many",
        "src=10.20.0.300",
        "src=",
        "src=10.20.0.0/33",
        "dst=10.20.0.0/a",
        "src=2001:db8::/32&names=false",
        "from=yesterday",
        "from=2026-11-23",
        "from=2026-13-40T00:00:00Z",
        "to=9999-12-31T23:59:59Z",
        "from=1969-12-31T23:59:59Z",
        "from=2026-11-23T19:00:00Z&to=2026-11-23T18:00:00Z",
        "verdict=guilty",
        "action=refused",
        "action=blocked&state=live",
        "service=NGROK%3B",
        "q=",
        "q=" + "x" * 129,
        "dst=" + "x" * 255,
        "cursor=%7B%7D",
        "cursor=" + "A" * 513,
        "scr=10.20.0.7",
        "from_ns=2026-11-23T19:00:00Z",
    ],
)
def test_a_parameter_that_cannot_be_used_is_named(client: httpx.Client, query: str) -> None:
    answer = client.get(f"/v1/events?{query}")
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["type"] == "urn:molecatcher:problem:invalid-parameter"
    assert problem["detail"]
    name = query.partition("=")[0]
    assert name in problem["detail"]


def test_every_event_is_on_exactly_one_page_while_events_arrive(
    installation: Installation, client: httpx.Client
) -> None:
    events = installation.add_many(23)
    arriving = iter(range(1, 100))
    found = walk(
        client,
        "/v1/events?limit=5",
        lambda: installation.add(observed_at_ns=installation.now_ns + next(arriving) * SECOND_NS),
    )
    assert found == [event.event_id for event in events]


def test_events_of_the_same_moment_are_not_lost_between_pages(installation: Installation, client: httpx.Client) -> None:
    events = [installation.add() for _ in range(9)]
    found = walk(client, "/v1/events?limit=2")
    assert sorted(found) == sorted(event.event_id for event in events)


def test_the_window_of_the_first_page_stays(installation: Installation, client: httpx.Client) -> None:
    inside = installation.add_many(3)
    installation.add(observed_at_ns=installation.now_ns - 30 * HOUR_NS)
    assert walk(client, "/v1/events?limit=1") == [event.event_id for event in inside]


def test_pages_keep_their_filters(installation: Installation, client: httpx.Client) -> None:
    installation.add_many(4)
    others = [installation.add(src_ip="2001:db8::7") for _ in range(3)]
    found = walk(client, "/v1/events?limit=1&src=2001:db8:0::7&q=ngrok")
    assert sorted(found) == sorted(event.event_id for event in others)


class TestCursors:
    @pytest.fixture
    def cursor(self, installation: Installation, client: httpx.Client) -> str:
        installation.add_many(3)
        return str(client.get("/v1/events?limit=1&service=ngrok").json()["next"])

    @pytest.mark.parametrize("query", ["", "service=bore", "service=ngrok&src=10.20.0.7", "service=ngrok&state=live"])
    def test_a_cursor_of_another_query_is_refused(self, client: httpx.Client, cursor: str, query: str) -> None:
        answer = client.get(f"/v1/events?limit=1&cursor={cursor}&{query}")
        assert answer.status_code == 400
        assert answer.json()["type"] == "urn:molecatcher:problem:invalid-cursor"

    def test_a_cursor_of_another_resource_is_refused(self, client: httpx.Client, cursor: str) -> None:
        assert client.get(f"/v1/findings?service=ngrok&cursor={cursor}").status_code == 400

    def test_the_limit_may_change(self, client: httpx.Client, cursor: str) -> None:
        assert len(ids(client.get(f"/v1/events?limit=2&service=ngrok&cursor={cursor}"))) == 2

    def test_an_altered_cursor_is_refused(self, client: httpx.Client, cursor: str) -> None:
        for at in range(len(cursor) - 1):  # the last base64 digit holds bits that nobody reads
            other = "A" if cursor[at] != "A" else "B"
            altered = cursor[:at] + other + cursor[at + 1 :]
            answer = client.get("/v1/events", params={"service": "ngrok", "cursor": altered})
            assert answer.status_code == 400, altered

    @pytest.mark.parametrize("cursor_text", [".", "A", "A.A", "....", "e30.e30", "W10.AAAAAAAAAAAAAAAAAAAAAA"])
    def test_an_invented_cursor_is_refused(self, client: httpx.Client, cursor_text: str) -> None:
        assert client.get("/v1/events", params={"cursor": cursor_text}).status_code == 400


def test_a_later_revision_replaces_the_event(
    installation: Installation, client: httpx.Client, make_event: Callable[..., Event]
) -> None:
    event = installation.add()
    installation.store.append([make_event(event_id=event.event_id, revision=2, count=9)])
    page = client.get("/v1/events").json()["items"]
    assert [(item["revision"], item["count"]) for item in page] == [(2, 9)]


def test_the_page_takes_a_network_too(installation: Installation, client: httpx.Client) -> None:
    installation.add(src_ip="10.20.0.7")
    wanted = installation.add(src_ip="10.21.0.7")
    shown = client.get("/events?src=10.21.0.0/16").text
    assert 'value="10.21.0.0/16"' in shown
    assert wanted.src_ip in shown
    assert "10.20.0.7" not in shown
    hidden = client.get("/events?src=2001:db8::/32&names=false")
    assert (hidden.status_code, "pseudonyms are in no network" in hidden.text) == (422, True)
