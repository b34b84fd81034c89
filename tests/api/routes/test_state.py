"""Services, sensors, policy, health and metrics: what the installation says of itself."""

import httpx
import pytest
from installation import Installation, names_of
from prometheus_client.parser import text_string_to_metric_families

from api.schemas.health import HealthDocument, ReadinessDocument
from api.schemas.policy import PolicyDocument
from api.schemas.sensors import SensorList
from api.schemas.services import ServiceList
from rules.lists.blocklist import ListName


def samples(client: httpx.Client) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    families = text_string_to_metric_families(client.get("/metrics").text)
    return {(row.name, tuple(sorted(row.labels.items()))): row.value for family in families for row in family.samples}


def test_services_say_what_was_seen(installation: Installation, client: httpx.Client) -> None:
    installation.add()
    installation.add(src_ip="10.20.0.8", count=4)
    installation.add(service="not-in-the-catalogue")
    installation.add(service=None)
    document = client.get("/v1/services").json()
    ServiceList.model_validate(document)
    rows = {row["id"]: row for row in document["items"]}
    assert set(rows) == {"ngrok", "bore", "not-in-the-catalogue", None}
    assert rows["ngrok"]["decision"] == "block"
    assert rows["ngrok"]["category"] == "reverse-tunnel"
    seen = rows["ngrok"]["seen"]
    assert (seen["events"], seen["sightings"], seen["sources"]) == (2, 5, 2)
    assert seen["last_seen"] == "2026-11-23T19:00:00.000000Z"
    assert rows["bore"]["seen"] == {"events": 0, "sightings": 0, "sources": 0, "last_seen": None}


def test_services_of_another_window(installation: Installation, client: httpx.Client) -> None:
    installation.add()
    window = {"from": "2026-11-01T00:00:00Z", "to": "2026-11-02T00:00:00Z"}
    document = client.get("/v1/services", params=window).json()
    assert [row["seen"]["events"] for row in document["items"]] == [0, 0]
    assert document["seen_to"] == "2026-11-02T00:00:00.000000Z"


def test_sensors_show_their_heartbeat(installation: Installation, client: httpx.Client) -> None:
    installation.beat(kernel_drops=3)
    document = client.get("/v1/sensors").json()
    SensorList.model_validate(document)
    (sensor,) = document["items"]
    assert sensor["heartbeat"] == "2026-11-23T19:00:00.000000Z"
    assert sensor["kernel_drops"] == 3
    assert sensor["interfaces"] == ["eth0"]
    assert sensor["state"] == "watching"


@pytest.mark.parametrize(
    ("fields", "state"),
    [
        ({"lost_last_minute": 1, "lag_ms": 60_000}, "losing_packets"),
        ({"lag_ms": 2_000, "delivery_lag_ms": 60_000}, "behind"),
        ({"lag_ms": 1_999, "delivery_lag_ms": 10_000}, "spool_filling"),
        ({"pending_events": 1}, "spool_filling"),
        ({"interfaces": (), "lost_last_minute": 1}, "waiting"),
        ({"kernel_drops": 100, "lag_ms": 1_999, "delivery_lag_ms": 9_999}, "watching"),
    ],
)
def test_a_sensors_state_is_the_worst_that_is_true(
    installation: Installation, client: httpx.Client, fields: dict[str, object], state: str
) -> None:
    installation.beat(**fields)
    assert client.get("/v1/sensors").json()["items"][0]["state"] == state
    states = {labels: value for (name, labels), value in samples(client).items() if name == "molecatcher_sensor_state"}
    assert [dict(labels)["state"] for labels, value in states.items() if value] == [state]
    installation.now_ns += 31 * 10**9
    assert client.get("/v1/sensors").json()["items"][0]["state"] == "silent"


def test_the_policy_is_shown_with_its_error(installation: Installation, client: httpx.Client) -> None:
    installation.set_policy(error="line 3 is not TOML", warnings=("expires soon",))
    document = client.get("/v1/policy").json()
    PolicyDocument.model_validate(document)
    assert document["error"] == "line 3 is not TOML"
    (domain,) = document["sanctioned"]
    assert (domain["domain"], domain["owner"], domain["expires"]) == (
        "tunnels.example.com",
        "platform@example.com",
        "2027-12-31",
    )


def test_a_process_that_is_up_is_healthy(client: httpx.Client) -> None:
    answer = client.get("/healthz")
    HealthDocument.model_validate(answer.json())
    assert client.head("/healthz").status_code == 200


def test_it_is_ready_when_lists_are_built(installation: Installation, client: httpx.Client) -> None:
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert answer.headers["retry-after"]
    checks = {row["check"]: row["is_ok"] for row in answer.json()["checks"]}
    assert checks == {"database": True, "access-file": True} | dict.fromkeys(map(str, ListName), False)
    installation.publish(names_of("tunnel.example"))
    answer = client.get("/readyz")
    assert answer.status_code == 200
    ReadinessDocument.model_validate(answer.json())


def test_it_is_not_ready_without_a_database(installation: Installation, client: httpx.Client) -> None:
    installation.publish_both()
    installation.break_database()
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert "database" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("molecatcher_sensor_packets_total", 1234),
        ("molecatcher_sensor_octets_total", 987_654),
        ("molecatcher_sensor_kernel_drops_total", 3),
        ("molecatcher_sensor_spool_events", 2),
        ("molecatcher_sensor_flows_total", 310),
        ("molecatcher_sensor_buffer_fill_peak_ratio", 0.25),
        ("molecatcher_sensor_flow_map_turnover_ratio", 0.5),
        ("molecatcher_sensor_lag_seconds", 0.052),
        ("molecatcher_sensor_delivery_lag_seconds", 1.5),
        ("molecatcher_sensor_heartbeat_age_seconds", 5),
    ],
)
def test_metrics_of_a_sensor(installation: Installation, client: httpx.Client, name: str, value: float) -> None:
    installation.beat(
        kernel_drops=3,
        spool_events=2,
        flows=310,
        buffer_fill_peak=0.25,
        flow_map_turnover=0.5,
        lag_ms=52,
        delivery_lag_ms=1500,
    )
    installation.now_ns += 5 * 10**9
    assert samples(client)[name, (("sensor", "gateway-1"),)] == value


def test_metrics_tell_interfaces_and_tables_apart(installation: Installation, client: httpx.Client) -> None:
    installation.beat(interface_drops={"eth0": 3, "eth1": 0}, evicted={"flows": 7})
    found = samples(client)
    for interface, drops in (("eth0", 3), ("eth1", 0)):
        labels = (("interface", interface), ("sensor", "gateway-1"))
        assert found["molecatcher_sensor_interface_drops_total", labels] == drops
    assert found["molecatcher_sensor_evicted_total", (("sensor", "gateway-1"), ("table", "flows"))] == 7


def test_a_metric_names_the_engine_and_why_it_is_that(installation: Installation, client: httpx.Client) -> None:
    reason = 'heads are cut in the program, since "libbpf.so.1" is not installed'
    installation.beat(engine="ring", engine_reason=reason)
    labels = (("engine", "ring"), ("reason", reason), ("sensor", "gateway-1"))
    assert samples(client)["molecatcher_sensor_engine", labels] == 1


def test_metrics_of_lists_and_policy(installation: Installation, client: httpx.Client) -> None:
    installation.publish_both()
    installation.set_policy(error="broken")
    found = samples(client)
    assert found["molecatcher_feed_serial", (("list", "unsanctioned-domains"), ("profile", "agents-only"))] == 7
    assert found["molecatcher_feed_entries", (("list", "unsanctioned-domains"), ("profile", "agents-only"))] == 2
    assert found["molecatcher_policy_error", (("where", "api"),)] == 1


def test_requests_are_counted_by_route_and_not_by_path(client: httpx.Client) -> None:
    for path in ("/v1/events/a", "/v1/events/b", "/nope/1", "/nope/2", "/static/page.css"):
        client.get(path)
    client.request("PROPFIND", "/v1/events")
    found = samples(client)
    routes = {dict(labels)["route"] for name, labels in found if name == "molecatcher_http_requests_total"}
    assert routes == {"/v1/events/{event_id}", "unmatched", "/static", "/v1/events"}
    assert (
        found[
            "molecatcher_http_requests_total",
            (("method", "GET"), ("route", "/v1/events/{event_id}"), ("status", "404")),
        ]
        == 2
    )
    assert (
        found["molecatcher_http_requests_total", (("method", "other"), ("route", "/v1/events"), ("status", "405"))] == 1
    )


def test_static_files_may_be_kept(client: httpx.Client) -> None:
    page = client.get("/").text
    address = page.partition('rel="stylesheet" href="')[2].partition('"')[0]
    answer = client.get(address)
    assert answer.status_code == 200
    assert "immutable" in answer.headers["cache-control"]
    assert client.get("/static/page.css").headers["cache-control"] == "no-cache"
    assert "http://" not in page.replace(str(client.base_url), "")
    assert "https://" not in page
