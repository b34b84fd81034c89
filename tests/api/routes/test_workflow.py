"""What people do over the API: on findings, with exceptions, decisions, own entries and searches."""

from datetime import date
from typing import Any

import httpx
import pytest
from installation import NOW_NS, Installation

from api.middleware.idempotency import CREDENTIALS, asker
from api.schemas.workflow import BlockedList, ExceptionPage, HistoryPage, SearchList
from rules.lists.building import build_names
from rules.policy.reader import parse_policy
from rules.values.event import rfc3339
from rules.values.verdict import Decision

DAY_NS = 86_400 * 10**9
EXCEPTION = {
    "service": "ngrok",
    "sources": ["10.20.0.0/16"],
    "owner": "it@example.com",
    "reason": "pilot",
    "expires": "2026-12-31",
}
FILE = """
[[exception]]
sources = ["10.20.0.0/16"]
service = "ngrok"
owner = "it@example.com"
reason = "in the file"
[[blocked]]
entry = "=file.example"
owner = "soc@example.com"
reason = "in the file"
[services]
devtunnels = "block"
"""
LOCAL_ASKER = asker("local", "127.0.0.1", "", *[""] * len(CREDENTIALS))


def only_finding(client: httpx.Client, **query: str) -> dict[str, Any]:
    (found,) = client.get("/v1/findings", params=query).json()["items"]
    return dict(found)


def history(client: httpx.Client, finding_id: str) -> list[tuple[str, str, str | None, str | None, str]]:
    page = client.get(f"/v1/findings/{finding_id}/history").json()
    HistoryPage.model_validate(page)
    return [(row["actor"], row["kind"], row["before"], row["after"], row["text"]) for row in page["items"]]


def test_a_finding_has_an_assignee_comments_and_a_history(installation: Installation, client: httpx.Client) -> None:
    installation.add()
    path = f"/v1/findings/{only_finding(client)['finding_id']}"
    assert client.put(f"{path}/assignee", json={"assignee": "alice"}).json()["assignee"] == "alice"
    installation.now_ns += 10**9
    client.post(f"{path}/comments", json={"comment": "asked the owner"})
    installation.now_ns += 10**9
    client.post(f"{path}/state", json={"state": "resolved"})
    installation.add(observed_at_ns=installation.now_ns + DAY_NS)
    assert history(client, only_finding(client)["finding_id"]) == [
        ("", "state", "resolved", "open", ""),
        ("local", "state", "open", "resolved", ""),
        ("local", "comment", None, None, "asked the owner"),
        ("local", "assignee", None, "alice", ""),
    ]
    assert only_finding(client, assignee="alice")["state"] == "open"
    assert client.get("/v1/findings", params={"assignee": ""}).json()["items"] == []
    pages, after = [], ""
    while True:
        page = client.get(f"{path}/history?limit=3" + (f"&after={after}" if after else "")).json()
        pages.append(len(page["items"]))
        if not (after := page["next"]):
            break
    assert pages == [3, 1]


def test_many_findings_change_at_once(installation: Installation, client: httpx.Client) -> None:
    for at in range(3):
        installation.add(src_ip=f"10.20.1.{at}")
    ids = [row["finding_id"] for row in client.get("/v1/findings").json()["items"]]
    body = {"ids": [*ids, ids[0], "nobody"], "state": "resolved", "assignee": "alice", "comment": "reimaged"}
    items = client.post("/v1/findings:bulk", json=body).json()["items"]
    assert [row["state"] for row in items] == ["resolved"] * 3 + [None]
    assert "No finding" in items[3]["problem"]
    assert {row["assignee"] for row in client.get("/v1/findings?state=resolved").json()["items"]} == {"alice"}
    assert len(history(client, ids[0])) == 3
    assert client.post("/v1/findings:bulk", json={"ids": ids, "assignee": None}).status_code == 200
    assert {row["assignee"] for row in client.get("/v1/findings").json()["items"]} == {None}
    assert client.post("/v1/findings:bulk", json={"ids": ids}).status_code == 422


def test_an_exception_holds_at_once_until_it_is_revoked(installation: Installation, client: httpx.Client) -> None:
    answer = client.post("/v1/exceptions", json=EXCEPTION)
    assert answer.status_code == 201, answer.text
    made = answer.json()
    assert (made["status"], made["is_in_force"], made["origin"]) == ("active", True, "database")
    assert made["requested_by"] == "local"
    assert client.get(answer.headers["location"]).json() == made
    (held,) = installation.ruleset().policy.exceptions
    assert (held.id, held.expires) == (made["exception_id"], date(2026, 12, 31))
    installation.now_ns += 60 * DAY_NS
    assert client.get(answer.headers["location"]).json()["is_in_force"] is False
    ended = client.post(f"{answer.headers['location']}/revoke").json()
    assert (ended["status"], ended["ended_by"]) == ("revoked", "local")
    assert installation.ruleset().policy.exceptions == ()
    assert client.post(f"{answer.headers['location']}/revoke").status_code == 409
    page = client.get("/v1/exceptions?status=revoked").json()
    ExceptionPage.model_validate(page)
    assert len(page["items"]) == 1


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"service": "no-such"}, 422),
        ({"sources": []}, 422),
        ({"sources": ["10.20.0.1/16"]}, 422),
        ({"reason": " "}, 422),
        ({"reason": "a\x00b"}, 422),
        ({"owner": "a\nb"}, 422),
        ({"more": 1}, 422),
        ({"users": ["a b"]}, 422),
    ],
)
def test_an_exception_that_cannot_be_used_is_refused(client: httpx.Client, change: dict[str, Any], status: int) -> None:
    assert client.post("/v1/exceptions", json=EXCEPTION | change).status_code == status
    assert client.get("/v1/exceptions").json()["items"] == []


def test_another_person_approves(installation: Installation, client: httpx.Client) -> None:
    installation.needs_approval = True
    made = client.post("/v1/exceptions", json=EXCEPTION, headers={"X-Test-Caller": "alice"}).json()
    path = f"/v1/exceptions/{made['exception_id']}"
    assert (made["status"], made["is_in_force"]) == ("requested", False)
    assert client.post(f"{path}/approve", headers={"X-Test-Caller": "alice"}).status_code == 409
    assert installation.ruleset().policy.exceptions == ()
    approved = client.post(f"{path}/approve", headers={"X-Test-Caller": "bob"}).json()
    assert (approved["status"], approved["decided_by"], approved["is_in_force"]) == ("active", "bob", True)
    assert client.post(f"{path}/reject", headers={"X-Test-Caller": "bob"}).status_code == 409
    other = client.post("/v1/exceptions", json=EXCEPTION | {"service": "bore"}).json()
    rejected = client.post(f"/v1/exceptions/{other['exception_id']}/reject", headers={"X-Test-Caller": "bob"}).json()
    assert (rejected["status"], rejected["is_in_force"]) == ("rejected", False)


def test_the_file_wins_and_is_shown(installation: Installation, client: httpx.Client) -> None:
    client.put("/v1/services/devtunnels", json={"decision": "ignore", "owner": "o", "reason": "r"})
    catalogue = installation.ruleset().catalogue
    installation.file_policy = parse_policy(FILE, "policy.toml", catalogue, NOW_NS)
    (shown,) = client.get("/v1/exceptions").json()["items"]
    assert (shown["origin"], shown["sources"], shown["reason"]) == ("file", ["10.20.0.0/16"], "in the file")
    assert client.get(f"/v1/exceptions/{shown['exception_id']}").json() == shown
    assert client.post("/v1/exceptions", json=EXCEPTION).status_code == 409
    service = client.get("/v1/services/devtunnels").json()
    assert (service["decision"], service["origin"]) == ("block", "file")
    body = {"decision": "monitor", "owner": "o", "reason": "r"}
    assert client.put("/v1/services/devtunnels", json=body).status_code == 409
    assert client.get("/v1/blocked").json()["items"][0]["entry"] == "=file.example"


def test_a_decision_about_a_service(installation: Installation, client: httpx.Client) -> None:
    before = client.get("/v1/services/tailscale").json()
    assert (before["decision"], before["origin"]) == ("monitor", None)
    body = {"decision": "block", "owner": "it@example.com", "reason": "not here"}
    after = client.put("/v1/services/tailscale", json=body).json()
    assert (after["decision"], after["origin"], after["changed_by"]) == ("block", "database", "local")
    rules = installation.ruleset()
    assert rules.policy.decide(rules.catalogue.services["tailscale"]) is Decision.BLOCK
    assert any(row.service == "tailscale" for row in build_names(rules.catalogue, rules.policy, NOW_NS).blocked)
    assert client.put("/v1/services/mesh-vpn", json=body).json()["decision"] == "block"
    assert client.delete("/v1/services/tailscale").json()["origin"] is None
    assert client.put("/v1/services/nothing", json=body).status_code == 404
    assert client.put("/v1/services/tailscale", json=body | {"decision": "maybe"}).status_code == 422


def test_an_entry_of_our_own(installation: Installation, client: httpx.Client) -> None:
    body = {"entry": "tunnel.colleague.example", "owner": "soc@example.com", "reason": "ticket", "expires": None}
    made = client.post("/v1/blocked", json=body).json()
    assert (made["is_in_force"], made["origin"], made["created_by"]) == (True, "database", "local")
    rules = installation.ruleset()
    assert any(row.name == body["entry"] for row in build_names(rules.catalogue, rules.policy, NOW_NS).blocked)
    page = client.get("/v1/blocked").json()
    BlockedList.model_validate(page)
    assert page["items"] == [made]
    assert client.post("/v1/blocked", json=body).status_code == 409
    for entry in ("com", "192.168.0.0/16", "a b"):
        assert client.post("/v1/blocked", json=body | {"entry": entry}).status_code == 422
    assert client.delete(f"/v1/blocked/{made['entry_id']}").status_code == 204
    assert client.delete(f"/v1/blocked/{made['entry_id']}").status_code == 404


def test_searches_are_their_owners(client: httpx.Client) -> None:
    body = {"name": "live", "resource": "findings", "query": {"service": "ngrok"}, "is_shared": False}
    alice, bob = {"X-Test-Caller": "alice"}, {"X-Test-Caller": "bob"}
    made = client.post("/v1/searches", json=body, headers=alice).json()
    path = f"/v1/searches/{made['search_id']}"
    assert client.get(path, headers=bob).status_code == 404
    assert client.put(path, json=body | {"is_shared": True}, headers=bob).status_code == 404
    assert client.put(path, json=body | {"is_shared": True}, headers=alice).status_code == 200
    listed = client.get("/v1/searches", headers=bob).json()
    SearchList.model_validate(listed)
    assert [row["owner"] for row in listed["items"]] == ["alice"]
    assert client.delete(path, headers=bob).status_code == 404
    assert client.delete(path, headers=alice).status_code == 204
    for query in ({"nothing": "x"}, {"cursor": "x"}, {"state": "live"}):
        assert client.post("/v1/searches", json=body | {"query": query}).status_code == 422


def test_a_key_makes_a_post_happen_once(installation: Installation, client: httpx.Client) -> None:
    installation.add()
    path = f"/v1/findings/{only_finding(client)['finding_id']}/comments"
    key = {"Idempotency-Key": "6f2f"}
    first = client.post(path, json={"comment": "once"}, headers=key)
    again = client.post(path, json={"comment": "once"}, headers=key)
    assert (again.status_code, again.content) == (first.status_code, first.content)
    assert again.headers["idempotency-replayed"] == "true"
    assert len(history(client, only_finding(client)["finding_id"])) == 1
    other = client.post(path, json={"comment": "twice"}, headers=key)
    assert (other.status_code, other.json()["type"]) == (422, "urn:molecatcher:problem:key-reused")
    assert client.post(path, json={"comment": "hers"}, headers=key | {"X-Test-Caller": "bob"}).status_code == 200
    assert client.post(path, json={"comment": "x"}, headers={"Idempotency-Key": "a b"}).status_code == 400
    installation.now_ns += 2 * DAY_NS
    assert client.post(path, json={"comment": "twice"}, headers=key).status_code == 200
    assert installation.store.answered.begin(LOCAL_ASKER, "new", b"1", installation.now_ns) is None
    assert client.post(path, json={"comment": "x"}, headers={"Idempotency-Key": "new"}).status_code == 422
    assert rfc3339(installation.now_ns)


def test_without_names_nobody_is_shown(installation: Installation, client: httpx.Client) -> None:
    names = {"src_host": "alices-laptop", "src_user": "alice", "src_mac": "02:00:5e:10:00:01", "src_pid": 4711}
    more = {"src_cmdline": "ngrok http 80", "src_exe": "/home/alice/ngrok", "src_process": "ngrok"}
    more["sensor_name"] = "alices-laptop"  # a sensor on her own machine
    for _ in range(2):
        event = installation.add(**names, **more)
    secret = ("10.20.0.7", "alice", "02:00:5e", "4711", "http 80")
    paths = (
        "/v1/events",
        f"/v1/events/{event.event_id}",
        "/v1/findings",
        "/v1/events/export",
        "/v1/events/export?format=ocsf",
        "/v1/events/export?format=ecs",
        "/v1/events/export?format=cef",
        "/v1/events/aggregate?by=src",
    )
    for path in paths:
        assert "10.20.0.7" in client.get(path).text
        for hidden in (client.get(path, params={"names": "false"}), client.get(path, headers={"X-Test-Names": "no"})):
            assert hidden.status_code == 200
            assert not [word for word in secret if word in hidden.text], path
    finding = only_finding(client, names="false")
    real = only_finding(client)
    assert finding["finding_id"] != real["finding_id"]
    assert only_finding(client, names="false", src=finding["src_ip"]) == finding
    assert client.get("/v1/findings", params={"names": "false", "src": "10.20.0.7"}).json()["items"] == []
    assert client.get("/v1/findings", params={"names": "false", "q": "10.20"}).json()["items"] == []
    assert client.get(f"/v1/findings/{finding['finding_id']}?names=false").json() == finding
    assert client.get(f"/v1/findings/{real['finding_id']}?names=false").status_code == 404
    items = client.get("/v1/events?names=false").json()["items"]
    assert len({(row["src_ip"], row["src_user"], row["src_host"], row["src_mac"]) for row in items}) == 1
    assert items[0]["src_user"].startswith("user-")
    evidence = f"/v1/events/{event.event_id}/evidence.pcap"
    assert client.get(evidence, headers={"X-Test-Names": "no"}).status_code == 403


def test_pages_without_names_hold_every_finding_once(installation: Installation, client: httpx.Client) -> None:
    for at in range(7):
        installation.add(src_ip=f"10.20.1.{at}")
    found, path = [], "/v1/findings?limit=2&names=false"
    while path:
        answer = client.get(path)
        found += [row["src_ip"] for row in answer.json()["items"]]
        path = answer.links.get("next", {}).get("url", "")
    assert len(found) == len(set(found)) == 7
