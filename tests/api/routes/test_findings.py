import httpx
import pytest
from installation import Installation

from api.schemas.events import FindingPage
from rules.values.event import rfc3339
from rules.values.observation import FlowState
from rules.values.verdict import Role, Severity

DAY_NS = 86_400 * 10**9


def test_a_finding_gathers_the_events_of_source_service_and_role(
    installation: Installation, client: httpx.Client
) -> None:
    first = installation.add(observed_at_ns=installation.now_ns - DAY_NS)
    last = installation.add()
    page = client.get("/v1/findings").json()
    FindingPage.model_validate(page)
    (finding,) = page["items"]
    assert finding["src_ip"] == "10.20.0.7"
    assert finding["events"] == 2
    assert finding["event_id"] == last.event_id
    assert finding["first_seen"] == rfc3339(first.observed_at_ns)
    assert finding["last_seen"] == rfc3339(last.observed_at_ns)
    assert finding["decided_at"] is None


def test_what_the_sensor_lost_is_said_of_event_and_finding(installation: Installation, client: httpx.Client) -> None:
    installation.add(sensor_loss=120)
    installation.add()
    assert client.get("/v1/findings").json()["items"][0]["sensor_loss"] == 120
    assert sorted(row["sensor_loss"] for row in client.get("/v1/events").json()["items"]) == [0, 120]


def test_old_findings_are_listed_too(installation: Installation, client: httpx.Client) -> None:
    installation.add(observed_at_ns=installation.now_ns - 90 * DAY_NS)
    assert len(client.get("/v1/findings").json()["items"]) == 1
    assert client.get("/v1/findings", params={"from": rfc3339(installation.now_ns - DAY_NS)}).json()["items"] == []


@pytest.mark.parametrize(
    ("fields", "query"),
    [
        ({"src_ip": "10.20.0.8"}, {"src": "10.20.0.8"}),
        ({"service": "bore"}, {"service": "bore"}),
        ({"role": Role.VISITOR}, {"role": "visitor"}),
        ({"src_ip": "10.20.0.8", "severity": Severity.LOW}, {"severity": "low"}),
        ({"src_ip": "10.20.0.8", "state": FlowState.BLOCKED}, {"tunnel_state": "blocked"}),
        ({"src_ip": "10.20.0.8", "sensor_id": "laptop-3"}, {"sensor": "laptop-3"}),
        ({"src_ip": "10.20.0.8", "dst_name": "a.lhr.life"}, {"q": "lhr"}),
    ],
)
def test_a_filter_finds_what_it_names(
    installation: Installation, client: httpx.Client, fields: dict[str, object], query: dict[str, str]
) -> None:
    installation.add()
    wanted = installation.add(**fields)
    items = client.get("/v1/findings", params=query).json()["items"]
    assert [item["event_id"] for item in items] == [wanted.event_id]


def test_state_is_the_finding_s_and_not_the_tunnel_s(installation: Installation, client: httpx.Client) -> None:
    installation.add()
    assert len(client.get("/v1/findings?state=open").json()["items"]) == 1
    assert client.get("/v1/findings?state=resolved").json()["items"] == []
    assert client.get("/v1/findings?state=live").status_code == 422


def test_every_finding_is_on_exactly_one_page(installation: Installation, client: httpx.Client) -> None:
    for at in range(11):
        installation.add(src_ip=f"10.20.1.{at}", observed_at_ns=installation.now_ns - at // 3 * 10**9)
    found, path = [], "/v1/findings?limit=2"
    while path:
        answer = client.get(path)
        found += [item["finding_id"] for item in answer.json()["items"]]
        path = answer.links.get("next", {}).get("url", "")
    assert len(found) == len(set(found)) == 11


def test_a_person_decides_and_what_is_seen_again_is_open_again(
    installation: Installation, client: httpx.Client
) -> None:
    installation.add()
    (finding,) = client.get("/v1/findings").json()["items"]
    path = f"/v1/findings/{finding['finding_id']}"
    assert client.get(path).json() == finding
    for state in ("acknowledged", "resolved"):
        decided = client.post(f"{path}/state", json={"state": state}).json()
        assert (decided["state"], decided["decided_at"]) == (state, rfc3339(installation.now_ns))
    assert client.get("/v1/findings", params={"state": "open"}).json()["items"] == []
    installation.add(observed_at_ns=installation.now_ns + DAY_NS)
    assert client.get(path).json()["state"] == "open"


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/v1/findings/nobody/state", {"state": "resolved"}, 404),
        ("/v1/findings/nobody/state", {"state": "excepted"}, 422),
        ("/v1/findings/nobody/state", {"state": "open", "more": 1}, 422),
        ("/v1/findings/nobody/state", {}, 422),
    ],
)
def test_what_cannot_be_decided_is_a_problem(
    client: httpx.Client, path: str, body: dict[str, object], status: int
) -> None:
    answer = client.post(path, json=body)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert client.get("/v1/findings/nobody").status_code == 404
