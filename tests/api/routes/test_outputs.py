"""Outputs and callers-back over the API; what comes in is signed with the library that senders use."""

import json
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from installation import Installation
from standardwebhooks.webhooks import Webhook

from api.schemas.outputs import DeadLetterPage, OutputList
from db.workflow.output_values import DeadLetter

WEBHOOK = {"name": "soar", "target": {"kind": "webhook", "url": "https://soar.example.com/hook"}}


def call(
    client: httpx.Client, source: dict[str, Any], now_ns: int, data: dict[str, Any], **change: Any
) -> httpx.Response:
    body = json.dumps({"type": "finding.changed", "timestamp": "2026-11-23T19:00:00Z", "data": data})
    at = datetime.fromtimestamp(now_ns // 10**9 + change.get("late_s", 0), UTC)
    headers = {
        "webhook-id": change.get("id", "m1"),
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": Webhook(change.get("secret", source["secret"])).sign(change.get("id", "m1"), at, body),
    }
    return client.post(f"/v1/webhooks/{source['source_id']}", content=body + change.get("more", ""), headers=headers)


def test_a_secret_is_shown_once_and_kept_sealed(installation: Installation, client: httpx.Client) -> None:
    made = client.post("/v1/outputs", json=WEBHOOK).json()
    assert made["secret"].startswith("whsec_")
    path = f"/v1/outputs/{made['output_id']}"
    new = client.post(f"{path}/rotate").json()["secret"]
    hec = {"kind": "hec", "url": "https://splunk.example.com:8088", "token": "very-s3cret"}
    splunk = client.post("/v1/outputs", json={"name": "splunk", "target": hec}).json()
    page = client.get("/v1/outputs").json()
    OutputList.model_validate(page)
    assert [row["lag"] for row in page["items"]] == [0, 0]
    stored = installation.path.read_bytes() + installation.path.with_name(installation.path.name + "-wal").read_bytes()
    for secret in (made["secret"], new, "very-s3cret"):
        assert secret not in json.dumps(page)
        assert secret.encode() not in stored
    assert client.post(f"/v1/outputs/{splunk['output_id']}/rotate").status_code == 409
    metrics = client.get("/metrics").text
    assert 'molecatcher_output_lag{output="soar"} 0.0' in metrics
    installation.add()
    assert client.get(path).json()["lag"] == 1
    assert client.delete(path).status_code == 204
    assert client.get(path).status_code == 404


@pytest.mark.parametrize(
    "target",
    [
        {"kind": "webhook", "url": "ftp://soar.example.com"},
        {"kind": "webhook", "url": "https://soar.example.com/a\0b"},
        {"kind": "webhook", "url": "https://user:pw@soar.example.com"},
        {"kind": "apprise", "address": "json://127.0.0.1/"},
        {"kind": "apprise", "address": "nothing at all"},
        {"kind": "syslog", "host": "a b"},
        {"kind": "syslog", "host": "logs.example.com", "port": 0},
        {"kind": "hec", "url": "https://splunk.example.com", "token": "a b"},
        {"kind": "smoke", "url": "https://soar.example.com"},
    ],
)
def test_what_is_no_target_is_refused(client: httpx.Client, target: dict[str, Any]) -> None:
    assert client.post("/v1/outputs", json={"name": "x", "target": target}).status_code == 422


def test_an_output_is_paused_tried_and_resumed(client: httpx.Client) -> None:
    path = f"/v1/outputs/{client.post('/v1/outputs', json=WEBHOOK).json()['output_id']}"
    assert client.post(f"{path}/pause").json()["is_paused"] is True
    assert client.get(path).json()["is_paused"] is True
    assert client.post(f"{path}/resume").json()["is_paused"] is False
    refused = client.post(f"{path}/try")
    assert (refused.status_code, refused.json()["detail"]) == (409, "The trial was not taken: outputs do not run here")
    for action in ("pause", "resume", "try"):
        assert client.post(f"/v1/outputs/nobody/{action}").status_code == 404
        assert client.get(f"/v1/audit?action=output.{action}").json()["items"]


def test_dead_letters_are_listed(installation: Installation, client: httpx.Client) -> None:
    made = client.post("/v1/outputs", json=WEBHOOK).json()
    output_id = made["output_id"]
    letters = [
        DeadLetter(letter_id=f"l{at}", output_id=output_id, event_id="e", at_ns=at, error="500") for at in range(3)
    ]
    installation.store.outputs.bury(made["output_id"], 7, letters)
    path = f"/v1/outputs/{made['output_id']}/dead-letters"
    first = client.get(f"{path}?limit=2").json()
    DeadLetterPage.model_validate(first)
    assert [row["letter_id"] for row in first["items"]] == ["l0", "l1"]
    assert len(client.get(f"{path}?limit=2&after={first['next']}").json()["items"]) == 1
    answer = client.post(f"{path}/replay")
    assert answer.status_code == 409
    assert "do not run here" in answer.json()["detail"]


def test_a_signed_webhook_changes_a_finding_once(installation: Installation, client: httpx.Client) -> None:
    installation.add()
    (finding,) = client.get("/v1/findings").json()["items"]
    source = client.post("/v1/webhook-sources", json={"name": "soar"}).json()
    data = {"finding_id": finding["finding_id"], "state": "acknowledged", "comment": "ticket 4711"}
    assert call(client, source, installation.now_ns, data).status_code == 204
    assert call(client, source, installation.now_ns, data).status_code == 204
    entries = client.get(f"/v1/findings/{finding['finding_id']}/history").json()["items"]
    assert sorted((row["actor"], row["kind"]) for row in entries) == [
        ("webhook:soar", "comment"),
        ("webhook:soar", "state"),
    ]
    assert client.get("/v1/findings").json()["items"][0]["state"] == "acknowledged"
    assert call(client, source, installation.now_ns, data | {"finding_id": "nobody"}, id="m2").status_code == 404
    assert call(client, source, installation.now_ns, {"state": "open"}, id="m3").status_code == 422
    assert call(client, source, installation.now_ns, data | {"state": "excepted"}, id="m4").status_code == 422


@pytest.mark.parametrize(
    "change",
    [{"late_s": -301}, {"late_s": 301}, {"more": " "}, {"secret": "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}],
)
def test_what_is_not_signed_just_now_by_the_source_is_refused(
    installation: Installation, client: httpx.Client, change: dict[str, Any]
) -> None:
    installation.add()
    (finding,) = client.get("/v1/findings").json()["items"]
    source = client.post("/v1/webhook-sources", json={"name": "soar"}).json()
    data = {"finding_id": finding["finding_id"], "state": "resolved"}
    assert call(client, source, installation.now_ns, data, **change).status_code == 400
    assert call(client, source | {"source_id": "nobody"}, installation.now_ns, data).status_code == 400
    assert client.post(f"/v1/webhooks/{source['source_id']}", content=b"{}").status_code == 400
    assert client.get("/v1/findings").json()["items"][0]["state"] == "open"
    client.delete(f"/v1/webhook-sources/{source['source_id']}")
    assert call(client, source, installation.now_ns, data).status_code == 400


def test_a_webhook_that_failed_here_is_not_taken_for_done(installation: Installation, client: httpx.Client) -> None:
    installation.add()
    (finding,) = client.get("/v1/findings").json()["items"]
    source = client.post("/v1/webhook-sources", json={"name": "soar"}).json()
    data = {"finding_id": finding["finding_id"], "state": "resolved"}
    refusal = "CREATE TRIGGER full BEFORE UPDATE ON findings BEGIN SELECT RAISE(ABORT, 'no room'); END"
    with closing(sqlite3.connect(installation.path)) as connection:
        connection.execute(refusal)
        assert call(client, source, installation.now_ns, data).status_code == 503
        connection.execute("DROP TRIGGER full")
    again = call(client, source, installation.now_ns, data)
    assert (again.status_code, again.headers["retry-after"]) == (409, "60")
    installation.now_ns += 61 * 10**9
    assert call(client, source, installation.now_ns, data).status_code == 204
    assert client.get("/v1/findings").json()["items"][0]["state"] == "resolved"
    assert call(client, source, installation.now_ns, data).status_code == 204
