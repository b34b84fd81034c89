"""An enrolment token is good once, for a short time, and for nothing else."""

import httpx
import msgspec
import pytest
from installation import NOW_NS, SECOND_NS, Installation, add_token

from api.access.secrets import new_id
from db.access.values import AuditFilter, AuditOutcome, TokenScope
from rules.values.event import rfc3339

SCOPES = (TokenScope.SENSORS_ENROL,)
BODY = {"sensor_id": "gateway-9", "hostname": "gateway.example.com"}


def enrolment(installation: Installation, **fields: object) -> dict[str, str]:
    token = add_token(installation.store, scopes=SCOPES, **fields)
    installation.now_ns += 2 * SECOND_NS
    return {"X-Api-Key": token}


def test_it_is_used_up(installation: Installation, closed: httpx.Client) -> None:
    holder = enrolment(installation, allowed=("127.0.0.0/8",))
    assert closed.get("/v1/events", headers=holder).status_code == 403
    assert closed.post("/v1/sensors:enrol", json=BODY | {"more": 1}, headers=holder).status_code == 422
    for name in ("a\x1b[2Jb", "two words"):  # it is shown in terminals
        assert closed.post("/v1/sensors:enrol", json=BODY | {"hostname": name}, headers=holder).status_code == 422
    made = closed.post("/v1/sensors:enrol", json=BODY, headers=holder | {"Idempotency-Key": "again"})
    assert (made.status_code, made.json()["sensor_id"]) == (201, "gateway-9")
    assert closed.post("/v1/sensors:enrol", json=BODY, headers=holder).status_code in {401, 409}
    installation.now_ns += 2 * SECOND_NS
    assert closed.post("/v1/sensors:enrol", json=BODY, headers=holder).status_code == 401
    own = {"X-Api-Key": made.json()["token"]}
    assert closed.get("/v1/sensors/gateway-9/rules", headers=own).status_code == 200
    assert closed.get("/v1/sensors/gateway-1/rules", headers=own).status_code == 403
    kept = installation.store.tokens()[-1]
    assert (kept.sensor_id, kept.allowed, kept.name) == ("gateway-9", ("127.0.0.0/8",), "gateway.example.com")


def test_a_sensor_that_is_there_is_not_taken_over(installation: Installation, closed: httpx.Client) -> None:
    installation.beat(sensor_id="gateway-9")
    anybody, bound = enrolment(installation), enrolment(installation, sensor_id="gateway-9")
    assert closed.post("/v1/sensors:enrol", json=BODY, headers=anybody).status_code == 409
    other = BODY | {"sensor_id": "gateway-8"}
    assert closed.post("/v1/sensors:enrol", json=other, headers=bound).status_code == 403
    assert closed.post("/v1/sensors:enrol", json=BODY, headers=bound).status_code == 201


def test_a_sensor_that_is_enrolled_again_has_one_token(installation: Installation, closed: httpx.Client) -> None:
    """Whoever makes an enrolment token for a sensor that is there wants the host before, or its token, to be out."""
    before, other = (
        {"X-Api-Key": add_token(installation.store, scopes=(TokenScope.EVENTS_WRITE,), sensor_id=sensor)}
        for sensor in ("gateway-9", "gateway-8")
    )
    bound, spare = (enrolment(installation, sensor_id="gateway-9") for _ in range(2))
    assert closed.get("/v1/sensors/gateway-9/rules", headers=before).status_code == 200
    made = closed.post("/v1/sensors:enrol", json=BODY, headers=bound)
    installation.now_ns += 2 * SECOND_NS
    own = {"X-Api-Key": made.json()["token"]}
    assert closed.get("/v1/sensors/gateway-9/rules", headers=own).status_code == 200
    assert closed.get("/v1/sensors/gateway-9/rules", headers=before).status_code == 401
    assert closed.post("/v1/sensors:enrol", json=BODY, headers=spare).status_code == 401
    assert closed.get("/v1/sensors/gateway-8/rules", headers=other).status_code == 200


def test_two_who_choose_one_id_at_a_time_do_not_both_have_it(installation: Installation) -> None:
    add_token(installation.store, scopes=SCOPES)
    (enrolment_token,) = installation.store.tokens()
    taken = msgspec.structs.replace(enrolment_token, token_id=new_id(), sensor_id="gateway-9", scopes=())
    assert installation.store.add_token(taken, 99)
    own = msgspec.structs.replace(taken, token_id=new_id())
    assert not installation.store.exchange_token(enrolment_token, own, NOW_NS, 99)
    assert {row.token_id: row.revoked_at_ns for row in installation.store.tokens()} == {
        enrolment_token.token_id: None,
        taken.token_id: None,
    }


def test_the_audit_log_claims_what_happened(installation: Installation, closed: httpx.Client) -> None:
    anybody, other = enrolment(installation), enrolment(installation)
    assert closed.post("/v1/sensors:enrol", json=BODY, headers=anybody).status_code == 201
    assert closed.post("/v1/sensors:enrol", json=BODY, headers=other).status_code == 409
    refused, done = installation.store.audit(AuditFilter(action="sensor.enrol"), 9)
    own = installation.store.tokens()[-1].token_id
    assert (done.outcome, done.target) == (AuditOutcome.DONE, "gateway-9")
    assert done.detail == f"name: nothing -> gateway.example.com; token: nothing -> {own}"
    assert (refused.outcome, refused.detail) == (AuditOutcome.REFUSED, "answered 409")


@pytest.mark.parametrize("bound_to", [None, "demonstration"])
def test_nobody_is_the_demonstration(installation: Installation, closed: httpx.Client, bound_to: str | None) -> None:
    holder = enrolment(installation, sensor_id=bound_to)
    body = BODY | {"sensor_id": "demonstration"}
    assert closed.post("/v1/sensors:enrol", json=body, headers=holder).status_code == 409


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({}, 201),
        ({"sensor": "gateway-9"}, 201),
        ({"sensor": "demonstration"}, 422),
        ({"scopes": ["sensors:enrol", "admin"]}, 422),
        ({"expires_at": rfc3339(NOW_NS + 25 * 3600 * SECOND_NS)}, 422),
    ],
)
def test_how_it_is_made(
    installation: Installation, client: httpx.Client, fields: dict[str, object], status: int
) -> None:
    answer = client.post("/v1/tokens", json={"name": "gateway", "scopes": ["sensors:enrol"]} | fields)
    assert answer.status_code == status, answer.text
    if status == 201:
        assert answer.json()["expires_at"] == rfc3339(installation.now_ns + 3600 * SECOND_NS)
