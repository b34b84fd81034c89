"""Every error is a problem document (RFC 9457) that says what to do."""

import uuid

import httpx
import pytest
from installation import Installation
from structlog.testing import capture_logs

from api.context import PolicyStatus
from api.schemas.problems import ProblemDocument

SECRET = "the path /etc/shadow is not for outsiders"  # noqa: S105 - a sentence that must not come out


def check(answer: httpx.Response, status: int, name: str) -> dict[str, object]:
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    ProblemDocument.model_validate(problem)
    assert problem["type"] == f"urn:molecatcher:problem:{name}"
    assert problem["status"] == status
    assert problem["title"]
    assert problem["detail"]
    return dict(problem)


@pytest.mark.parametrize(
    "path", ["/nope", "/v1", "/v2/events", "/v1/events/", "/static/nope.js", "/static/..%2Fapp.py", "/docs"]
)
def test_what_is_not_there(client: httpx.Client, path: str) -> None:
    check(client.get(path), 404, "not-found")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
@pytest.mark.parametrize("path", ["/v1/events", "/feeds/unsanctioned-domains.txt", "/", "/healthz"])
def test_methods_that_are_not_allowed(client: httpx.Client, method: str, path: str) -> None:
    answer = client.request(method, path)
    check(answer, 405, "method-not-allowed")
    assert answer.headers["allow"] == "GET, HEAD"


def test_a_refused_parameter_is_listed(client: httpx.Client) -> None:
    problem = check(client.get("/v1/events?limit=0&src=x&bogus=1"), 422, "invalid-parameter")
    errors = problem["errors"]
    assert isinstance(errors, list)
    assert {error["parameter"] for error in errors} == {"limit", "src", "bogus"}


def test_a_crash_is_answered_without_details_and_logged_with_its_id(
    installation: Installation, client: httpx.Client
) -> None:
    def crash(_: Installation) -> PolicyStatus:
        raise RuntimeError(SECRET)

    installation.ask_policy = crash
    with capture_logs() as logs:
        answer = client.get("/v1/policy")
    problem = check(answer, 500, "internal-error")
    assert SECRET not in answer.text
    assert uuid.UUID(str(problem["correlation_id"]))
    assert answer.headers["x-request-id"] == problem["correlation_id"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    entries = [entry for entry in logs if entry["event"] == "request_failed"]
    assert [entry["correlation_id"] for entry in entries] == [problem["correlation_id"]]
    assert SECRET in str(entries[0]["exc_info"])


@pytest.mark.parametrize(
    "path", ["/v1/events", "/v1/findings", "/v1/services", "/v1/sensors", "/v1/events/x", "/", "/metrics"]
)
def test_a_database_that_does_not_answer_is_503(installation: Installation, client: httpx.Client, path: str) -> None:
    installation.break_database()
    answer = client.get(path)
    check(answer, 503, "store-unavailable")
    assert str(installation.path) not in answer.text
    assert int(answer.headers["retry-after"]) > 0
