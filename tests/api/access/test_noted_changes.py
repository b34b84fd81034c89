"""Each change over the API is in the audit log with what it made of what, or it did not happen; refused ones too."""

import sqlite3
from collections.abc import Callable

import httpx
import pytest
from installation import Installation

from db.access.values import AuditEntry, AuditFilter, AuditOutcome

EXCEPTION = {"service": "devtunnels", "sources": ["10.20.0.0/16"], "owner": "it@example.com", "reason": "a pilot"}
DECISION = {"decision": "monitor", "owner": "it@example.com", "reason": "two teams use it"}
BLOCKED = {"entry": "tunnel.colleague.example", "owner": "soc@example.com", "reason": "ticket 4711"}
SEARCH = {"name": "live agents", "resource": "findings", "query": {"tunnel_state": "live"}}
WEBHOOK = {"kind": "webhook", "url": "https://hooks.example.com/T0KEN"}


def finding(installation: Installation, client: httpx.Client) -> str:
    installation.add()
    return str(client.get("/v1/findings").json()["items"][0]["finding_id"])


def noted(installation: Installation) -> list[AuditEntry]:
    return installation.store.audit(AuditFilter(), 99)[::-1]


def test_what_is_done_to_a_finding_says_from_what_to_what(installation: Installation, client: httpx.Client) -> None:
    path = f"/v1/findings/{(finding_id := finding(installation, client))}"
    client.post(f"{path}/state", json={"state": "acknowledged"})
    client.put(f"{path}/assignee", json={"assignee": "alice"})
    client.post(f"{path}/comments", json={"comment": "asked her, she said SECRET-WORD"})
    client.put(f"{path}/assignee", json={"assignee": "alice"})  # changes nothing
    rows = noted(installation)
    assert [(row.action, row.detail) for row in rows] == [
        ("finding.update", "state: open -> acknowledged"),
        ("finding.update", "assignee: nothing -> alice"),
        ("finding.comment", "also comment"),
    ]
    assert {(row.target, row.outcome, row.actor_id) for row in rows} == {(finding_id, AuditOutcome.DONE, "loopback")}
    assert rows[0].after == rows[1].before != rows[1].after
    assert all(row.request_id for row in rows)
    assert "SECRET-WORD" not in str(rows)


def test_each_finding_of_many_has_its_own_entry(installation: Installation, client: httpx.Client) -> None:
    first = finding(installation, client)
    installation.add(src_ip="10.20.0.8")
    ids = [row["finding_id"] for row in client.get("/v1/findings").json()["items"]]
    client.post("/v1/findings:bulk", json={"ids": [*ids, "0" * 8], "state": "resolved"})
    assert [(row.target, row.action, row.detail) for row in noted(installation)] == [
        (finding_id, "findings.update", "state: open -> resolved") for finding_id in ids
    ]
    assert first in ids


CHANGES: dict[str, Callable[[httpx.Client], list[httpx.Response]]] = {
    "exception.create status: nothing -> active": lambda client: [client.post("/v1/exceptions", json=EXCEPTION)],
    "service.update decision: nothing -> monitor": lambda client: [client.put("/v1/services/ngrok", json=DECISION)],
    "service.delete decision: monitor -> nothing": lambda client: [
        client.put("/v1/services/ngrok", json=DECISION),
        client.delete("/v1/services/ngrok"),
    ],
    "blocked.create entry: nothing -> tunnel.colleague.example": lambda client: [
        client.post("/v1/blocked", json=BLOCKED)
    ],
    "search.create name: nothing -> live agents": lambda client: [client.post("/v1/searches", json=SEARCH)],
    "output.create kind: nothing -> webhook": lambda client: [
        client.post("/v1/outputs", json={"name": "soar", "target": WEBHOOK})
    ],
    "token.create name: nothing -> siem; scopes: nothing -> events:read audit:read": lambda client: [
        client.post("/v1/tokens", json={"name": "siem", "scopes": ["events:read", "audit:read"]})
    ],
    "webhook_source.create name: nothing -> soar": lambda client: [
        client.post("/v1/webhook-sources", json={"name": "soar"})
    ],
}


@pytest.mark.parametrize("said", CHANGES)
def test_what_changes_a_row_says_so(installation: Installation, client: httpx.Client, said: str) -> None:
    action, _, words = said.partition(" ")
    for answer in CHANGES[said](client):
        assert answer.is_success, answer.text
    entry = noted(installation)[-1]
    assert (entry.action, entry.outcome) == (action, AuditOutcome.DONE)
    assert words in entry.detail
    assert entry.before != entry.after
    assert entry.target
    assert "T0KEN" not in str(entry)


@pytest.mark.parametrize(
    ("asked", "body", "action"),
    [
        ("POST /v1/findings/none/state", {"state": "resolved"}, "finding.update"),
        ("POST /v1/findings/none/state", {"state": "no such"}, "finding.update"),
        ("POST /v1/exceptions", EXCEPTION | {"service": "no such"}, "exception.create"),
        ("POST /v1/exceptions/none/revoke", None, "exception.revoke"),
        ("DELETE /v1/blocked/none", None, "blocked.delete"),
        ("POST /v1/tokens", {"name": ""}, "token.create"),
        ("POST /v1/tokens/none/revoke", None, "token.revoke"),
        ("POST /v1/tokens/none/rotate", {}, "token.rotate"),
        ("POST /v1/tokens/none/rotate", {"finish": True}, "token.finish"),
        ("POST /v1/sessions/none/revoke", None, "session.revoke"),
    ],
)
def test_what_is_refused_is_noted_as_refused(
    installation: Installation, client: httpx.Client, asked: str, body: object, action: str
) -> None:
    answer = client.request(*asked.split(), json=body)
    assert answer.is_client_error
    (entry,) = noted(installation)
    assert (entry.action, entry.outcome) == (action, AuditOutcome.REFUSED)
    assert entry.detail == f"answered {answer.status_code}"
    assert entry.request_id == answer.headers["x-request-id"]
    assert not entry.after


@pytest.mark.parametrize(
    ("asked", "body", "action"),
    [
        ("POST /v1/outputs/none/try", None, "output.try"),
        ("POST /v1/lists/unsanctioned-domains/confirm", {"digest": "0" * 64}, "list.publish"),
    ],
)
def test_what_was_noted_before_and_did_not_happen_is_noted_as_refused(
    installation: Installation, client: httpx.Client, asked: str, body: object, action: str
) -> None:
    answer = client.request(*asked.split(), json=body)
    assert answer.is_client_error
    before, after = noted(installation)
    assert (before.action, after.action, before.request_id) == (action, action, after.request_id)
    assert (after.outcome, after.detail) == (AuditOutcome.REFUSED, f"answered {answer.status_code}")


def test_what_cannot_be_noted_does_not_happen(installation: Installation, client: httpx.Client) -> None:
    finding_id = finding(installation, client)
    with sqlite3.connect(installation.path) as damage:
        damage.execute("ALTER TABLE audit RENAME TO lost_audit")
    answer = client.post(f"/v1/findings/{finding_id}/state", json={"state": "resolved"})
    assert answer.status_code == 503
    assert client.put("/v1/services/ngrok", json=DECISION).status_code == 503
    with sqlite3.connect(installation.path) as repair:
        repair.execute("ALTER TABLE lost_audit RENAME TO audit")
    assert client.get(f"/v1/findings/{finding_id}").json()["state"] == "open"
    assert client.get("/v1/services/ngrok").json()["origin"] is None
    assert noted(installation) == []


def test_the_page_shows_what_was_made_of_what(installation: Installation, client: httpx.Client) -> None:
    client.post(f"/v1/findings/{finding(installation, client)}/state", json={"state": "acknowledged"})
    assert "state: open -&gt; acknowledged" in client.get("/audit").text
