"""Events from sensors on other hosts: once each, as themselves only, and what cannot be kept is said."""

import asyncio
from collections.abc import Sequence

import httpx
import msgspec
import pytest
from installation import NOW_NS, SECOND_NS, Installation, add_token, event_of

from api.app import create_app
from api.routes import ingest
from api.schemas.events import EventDocument
from db.access.values import TokenScope
from rules.values.direction import Direction
from rules.values.event import Event, rfc3339
from rules.values.observation import FlowState, Refusal

BATCH = "/v1/events:batch"


@pytest.fixture
def sensor(installation: Installation) -> dict[str, str]:
    """Return the credential of the sensor gateway-1."""
    token = add_token(installation.store, scopes=(TokenScope.EVENTS_WRITE,), sensor_id="gateway-1")
    installation.now_ns += 2 * SECOND_NS
    return {"X-Api-Key": token}


def lines(events: Sequence[Event]) -> bytes:
    return b"".join(msgspec.json.encode(event) + b"\n" for event in events)


def test_a_batch_is_kept_once_in_either_form(
    installation: Installation, client: httpx.Client, sensor: dict[str, str]
) -> None:
    events = [event_of(evidence=b"packets"), event_of(src_ip="10.20.0.8")]
    first = client.post(BATCH, content=lines(events), headers=sensor)
    assert (first.status_code, first.json()["accepted"]) == (202, 2)
    again = client.post(BATCH, content=msgspec.json.encode(events), headers=sensor).json()
    assert (again["accepted"], again["updated"], again["duplicate"]) == (0, 0, 2)
    newer = [msgspec.structs.replace(events[0], revision=2, count=9)]
    assert client.post(BATCH, content=lines(newer), headers=sensor).json()["updated"] == 1
    kept = installation.store.event(events[0].event_id)
    assert kept is not None
    assert kept.count == 9
    assert installation.store.evidence(events[0].event_id) == b"packets"
    assert client.post(BATCH, content=b"", headers=sensor).json()["accepted"] == 0


NEW_MEMBERS = {
    "received_at_ns": 1,
    "refusal": Refusal.RESET,
    "rule_id": "listed_name",
    "rule_version": "2026.11.23",
    "policy_digest": "9f2c1e77a0b4d358",
    "sensor_name": "gateway",
    "site": "Berlin",
    "direction": Direction.OUTBOUND,
}


def test_sensors_of_older_and_newer_versions_are_understood(client: httpx.Client, sensor: dict[str, str]) -> None:
    event = event_of(state=FlowState.BLOCKED, **NEW_MEMBERS)
    older = msgspec.to_builtins(msgspec.structs.replace(event, event_id=event_of().event_id))
    for name in NEW_MEMBERS:
        del older[name]
    newer = msgspec.to_builtins(event) | {"a_member_of_later": {"so": 1}, "rule_id": "a_rule_of_later"}
    body = b"\n".join(map(msgspec.json.encode, (older, newer)))
    assert client.post(BATCH, content=body, headers=sensor).json()["accepted"] == 2
    rows = {row["event_id"]: row for row in client.get("/v1/events").json()["items"]}
    for row in rows.values():
        EventDocument.model_validate(row)
    known, unknown = rows[event.event_id], rows[older["event_id"]]
    assert {known["received_at"], unknown["received_at"]} == {rfc3339(NOW_NS)}  # by our clock, whatever a sensor says
    assert (known["action"], known["refusal"], known["rule_id"]) == ("rejected", "reset", "a_rule_of_later")
    assert (known["direction"], known["sensor_name"], known["site"]) == ("outbound", "gateway", "Berlin")
    assert unknown["action"] == "blocked"
    assert {unknown[name] for name in NEW_MEMBERS if name != "received_at_ns"} == {None}
    assert client.get("/events/" + older["event_id"]).status_code == 200


def test_what_cannot_be_kept_does_not_hinder_the_rest(
    installation: Installation, client: httpx.Client, sensor: dict[str, str]
) -> None:
    other = installation.add(sensor_id="gateway-2")
    stolen = msgspec.structs.replace(other, revision=9, sensor_id="gateway-1")
    good = event_of()
    body = lines([event_of(sensor_id="gateway-2"), good, stolen, event_of(evidence=b"x" * 40_000)])
    body += b'{"event_id": 1}\nno json\n' + msgspec.json.encode(event_of(event_id="../x")) + b"\n"
    answer = client.post(BATCH, content=body, headers=sensor).json()
    assert answer["accepted"] == 1
    assert [row["index"] for row in answer["rejected"]] == [0, 2, 3, 4, 5, 6]
    assert installation.store.event(good.event_id) is not None
    kept = installation.store.event(other.event_id)
    assert kept is not None
    assert (kept.revision, kept.sensor_id) == (1, "gateway-2")


@pytest.mark.parametrize(
    ("body", "status"),
    [(b"[1,", 422), (b"[" + b"{}," * 5_001 + b"{}]", 413), (b"x" * 5_000_001, 413)],
)
def test_what_is_no_batch_is_refused(client: httpx.Client, sensor: dict[str, str], body: bytes, status: int) -> None:
    assert client.post(BATCH, content=body, headers=sensor).status_code == status


def test_too_many_at_once_are_told_to_wait(installation: Installation, sensor: dict[str, str]) -> None:
    app = create_app(installation.context())

    async def ask() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost", headers=sensor) as client:
            for _ in range(ingest.AT_ONCE):
                assert app.state.batches.acquire(blocking=False)
            refused = await client.post(BATCH, content=lines([event_of()]))
            app.state.batches.release()
            return [refused, *[await client.post(BATCH, content=lines([event_of()])) for _ in range(3)]]

    refused, *taken = asyncio.run(ask())
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
    assert [answer.status_code for answer in taken] == [202] * 3


def test_without_a_database_sensors_keep_what_they_have(
    installation: Installation, client: httpx.Client, sensor: dict[str, str]
) -> None:
    assert client.post(BATCH, content=b"", headers=sensor).status_code == 202
    installation.break_database()
    answer = client.post(BATCH, content=lines([event_of()]), headers=sensor)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "10")


def test_a_heartbeat_is_of_the_sensor_itself(
    installation: Installation, client: httpx.Client, sensor: dict[str, str]
) -> None:
    installation.beat()
    (status,) = installation.store.sensors()
    newer = msgspec.structs.replace(status, heartbeat_ns=status.heartbeat_ns + SECOND_NS, packets=77)
    body = msgspec.json.encode(newer)
    assert client.post("/v1/sensors/gateway-1/status", content=body, headers=sensor).status_code == 204
    assert installation.store.sensors()[0].packets == 77
    assert client.post("/v1/sensors/gateway-2/status", content=body, headers=sensor).status_code == 403
    assert client.post("/v1/sensors/gateway-1/status", content=b"{}", headers=sensor).status_code == 422
    assert client.post("/v1/sensors/gateway-1/status", content=body).status_code == 403, "people are no sensors"
