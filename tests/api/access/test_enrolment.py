"""An enrolment token is good once, for a short time, and for nothing else."""

import httpx
import pytest
from installation import NOW_NS, SECOND_NS, Installation, add_token

from db.values import TokenScope
from rules.event import rfc3339

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
