"""The description is complete: every route, every answer, every error as it really is."""

from collections.abc import Iterator
from typing import Any

import httpx
import jsonschema_rs
import pytest

PATHS = {
    "/v1/events",
    "/v1/events/{event_id}",
    "/v1/events/{event_id}/evidence.pcap",
    "/v1/events/aggregate",
    "/v1/events/export",
    "/v1/events/stream",
    "/v1/decisions",
    "/v1/demonstration",
    "/v1/decisions/stream",
    "/v1/usage-metrics",
    "/v1/lists",
    "/v1/lists/{list_name}",
    "/v1/lists/{list_name}/confirm",
    "/v1/lists/{list_name}/diff",
    "/v1/lists/{list_name}/entries",
    "/v1/lists/{list_name}/snapshots",
    "/v1/findings",
    "/v1/findings/{finding_id}",
    "/v1/findings/{finding_id}/state",
    "/v1/findings/{finding_id}/assignee",
    "/v1/findings/{finding_id}/comments",
    "/v1/findings/{finding_id}/history",
    "/v1/findings:bulk",
    "/v1/exceptions",
    "/v1/exceptions/{exception_id}",
    "/v1/exceptions/{exception_id}/approve",
    "/v1/exceptions/{exception_id}/reject",
    "/v1/exceptions/{exception_id}/revoke",
    "/v1/sanctioned",
    "/v1/sanctioned/{sanction_id}",
    "/v1/sanctioned/{sanction_id}/approve",
    "/v1/never-blocked",
    "/v1/never-blocked/{entry_id}",
    "/v1/policy/preview",
    "/v1/blocked",
    "/v1/blocked/{entry_id}",
    "/v1/searches",
    "/v1/searches/{search_id}",
    "/v1/services/{service_id}",
    "/v1/profiles",
    "/v1/profiles/{name}",
    "/v1/profiles/{name}/preview",
    "/v1/outputs",
    "/v1/outputs/{output_id}",
    "/v1/outputs/{output_id}/rotate",
    "/v1/outputs/{output_id}/pause",
    "/v1/outputs/{output_id}/resume",
    "/v1/outputs/{output_id}/try",
    "/v1/outputs/{output_id}/dead-letters",
    "/v1/outputs/{output_id}/dead-letters/replay",
    "/v1/webhook-sources",
    "/v1/webhook-sources/{source_id}",
    "/v1/webhooks/{source_id}",
    "/v1/services",
    "/v1/sensors",
    "/v1/policy",
    "/feeds/{file_name}",
    "/feeds/t/{token}/{file_name}",
    "/feeds/p/{profile}/{file_name}",
    "/v1/consumers",
    "/v1/lists/{list_name}/consumers",
    "/misp/hashes.csv",
    "/misp/manifest.json",
    "/misp/{event_id}.json",
    "/taxii2/",
    "/taxii2/lists/",
    "/taxii2/lists/collections/",
    "/taxii2/lists/collections/{collection_id}/",
    "/taxii2/lists/collections/{collection_id}/manifest/",
    "/taxii2/lists/collections/{collection_id}/objects/",
    "/taxii2/lists/collections/{collection_id}/objects/{object_id}/",
    "/taxii2/lists/collections/{collection_id}/objects/{object_id}/versions/",
    "/v1/me",
    "/v1/events:batch",
    "/v1/sensors/{sensor_id}/status",
    "/v1/sensors:enrol",
    "/v1/sensors/{sensor_id}/rules",
    "/v1/sensors/{sensor_id}/catalogue",
    "/v1/sessions",
    "/v1/sessions/{session_id}/revoke",
    "/v1/tokens",
    "/v1/tokens/{token_id}",
    "/v1/tokens/{token_id}/rotate",
    "/v1/tokens/{token_id}/revoke",
    "/v1/audit",
    "/v1/audit/export",
    "/healthz",
    "/readyz",
    "/metrics",
}


@pytest.fixture
def description(client: httpx.Client) -> Any:
    return client.get("/v1/openapi.json").json()


def test_every_route_is_described(description: dict[str, Any]) -> None:
    assert description["openapi"].startswith("3.1")
    assert set(description["paths"]) == PATHS


def test_every_error_is_a_problem(description: dict[str, Any]) -> None:
    for path, operations in description["paths"].items():
        for status, answer in next(iter(operations.values()))["responses"].items():
            if int(status) >= 400:
                is_bouncers = path.startswith(("/v1/decisions", "/v1/usage")) and status == "403"
                expected = "application/json" if is_bouncers else "application/problem+json"
                assert list(answer["content"]) == [expected], (path, status)
    assert "HTTPValidationError" not in description["components"]["schemas"]


def test_every_reference_leads_somewhere(description: dict[str, Any]) -> None:
    def references(node: object) -> Iterator[str]:
        if isinstance(node, dict):
            yield from ([node["$ref"]] if "$ref" in node else [])
            for value in node.values():
                yield from references(value)
        elif isinstance(node, list):
            for value in node:
                yield from references(value)

    known = {f"#/components/schemas/{name}" for name in description["components"]["schemas"]}
    assert set(references(description)) <= known


def test_parameters_have_bounds(description: dict[str, Any]) -> None:
    parameters = {row["name"]: row for row in description["paths"]["/v1/events"]["get"]["parameters"]}
    expected = {
        "from",
        "to",
        "src",
        "dst",
        "service",
        "verdict",
        "role",
        "severity",
        "state",
        "action",
        "sensor",
        "q",
        "names",
        "limit",
        "cursor",
    }
    assert set(parameters) == expected
    assert parameters["limit"]["schema"]["maximum"] == 500


def test_every_operation_has_an_example_of_what_it_takes_and_answers(description: dict[str, Any]) -> None:
    bodies = 0
    for path, operations in description["paths"].items():
        for method, operation in operations.items():
            for body in (operation.get("requestBody", {}), *operation["responses"].values()):
                for media_type, content in body.get("content", {}).items():
                    if "json" in media_type and "schema" in content:
                        schema = content["schema"] | {"components": description["components"]}
                        wrong = list(jsonschema_rs.Draft202012Validator(schema).iter_errors(content["example"]))
                        assert not wrong, (method, path, wrong)
                        bodies += 1
    assert bodies > 200


def test_every_post_takes_an_idempotency_key_unless_its_answer_may_not_be_kept(description: dict[str, Any]) -> None:
    posts = {path: operations["post"] for path, operations in description["paths"].items() if "post" in operations}
    with_key = {
        path for path, post in posts.items() if "Idempotency-Key" in {row["name"] for row in post.get("parameters", ())}
    }
    secret = ("/v1/tokens", "/v1/sensors:enrol", "/v1/outputs", "/v1/webhook-sources")
    apart = {path for path in posts if path.startswith((*secret, "/v1/events:batch"))}
    assert len(apart) == 12
    assert with_key == set(posts) - apart
