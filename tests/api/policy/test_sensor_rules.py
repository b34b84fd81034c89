"""Sensors on other hosts take their rules from the API, each with its own token, and the page shows who lags behind."""

import hashlib

import httpx
import pytest
from access_server import serving
from installation import SECOND_NS, Installation, add_token

from api.access.config import AccessConfig
from api.policy.sensor_rules import SensorRules
from api.schemas.sensors import SensorList
from db.access.values import TokenScope

PATH = "/v1/sensors/gateway-1/rules"


def sensor(installation: Installation, sensor_id: str | None = "gateway-1") -> dict[str, str]:
    return {"X-Api-Key": add_token(installation.store, scopes=(TokenScope.EVENTS_WRITE,), sensor_id=sensor_id)}


def test_a_sensor_has_its_rules_and_asks_for_changes_only(installation: Installation) -> None:
    own, unbound = sensor(installation), sensor(installation, None)
    with serving(installation, AccessConfig(require=True)) as client:
        answer = client.get(PATH, headers=own)
        assert answer.status_code == 200
        assert answer.headers["etag"] == f'"{hashlib.sha256(answer.content).hexdigest()}"'
        assert client.get(PATH, headers=own | {"If-None-Match": answer.headers["etag"]}).status_code == 304
        body = {"decision": "ignore", "owner": "o", "reason": "r"}
        admin = {"X-Api-Key": add_token(installation.store, scopes=(TokenScope.ADMIN,))}
        installation.now_ns += 2 * SECOND_NS
        assert client.put("/v1/services/bore", json=body, headers=admin).status_code == 200
        changed = client.get(PATH, headers=own | {"If-None-Match": answer.headers["etag"]})
        assert changed.json()["policy"]["decisions"] == [["bore", "ignore"]]
        assert client.get(PATH, headers=unbound).status_code == 403
        assert client.get("/v1/sensors/gateway-2/rules", headers=own).status_code == 403
        assert client.get("/v1/sensors/gateway-1/catalogue", headers=own).status_code == 404


@pytest.mark.parametrize(
    ("revision", "later_s", "state"),
    [
        ("older", 90, "behind"),
        ("older", 20, "current"),
        ("newest", 90, "current"),
        (None, 90, "own"),
        ("", 90, "behind"),
    ],
)
def test_who_lags_behind_is_shown(
    installation: Installation, client: httpx.Client, revision: str | None, later_s: int, state: str
) -> None:
    installation.beat(is_remote=True)
    client.get("/v1/sensors")  # from here on the rules are these
    newest = SensorRules(installation.context()).current().revision
    installation.now_ns += later_s * SECOND_NS
    used = newest if revision == "newest" else revision or ""
    installation.beat(rules_revision=used, is_remote=revision is not None)
    found = client.get("/v1/sensors").json()
    SensorList.model_validate(found)
    assert found["items"][0]["rules_state"] == state
    for path in ("/", "/sensors"):
        assert ("older rules than those in force" in client.get(path).text) == (state == "behind")
