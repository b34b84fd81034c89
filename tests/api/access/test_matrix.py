"""Every route with every role and every kind of token, as docs/security.md says: a table that is the program's own."""

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from access_server import serving
from installation import SECOND_NS, Installation, add_token
from people import sign_in

from api.access.config import AccessConfig, LimitConfig
from api.access.gate import SAFE_METHODS
from api.access.table import ACTIONS, DEEDS, TABLE, Rule, require_complete
from api.app import create_app, routes_of
from db.access.values import AccessRole, TokenScope

SECURITY = Path(__file__).parents[3] / "docs" / "security.md"
PARTS = {
    "output_id": "nothing",
    "source_id": "nobody",
    "file_name": "unsanctioned-domains.txt",
    "list_name": "unsanctioned-domains",
    "profile": "default",
    "event_id": "none",
    "finding_id": "none",
    "name": "none",
    "token_id": "none",
    "token": "none",
    "exception_id": "none",
    "sanction_id": "none",
    "service_id": "none",
    "entry_id": "none",
    "search_id": "none",
    "collection_id": "none",
    "object_id": "none",
    "sensor_id": "gateway-1",
    "session_id": "none",
}
REFUSED = {401, 403}
ENDS_THE_SESSION = ("POST", "/sign-out")
NOTED_BY_HANDLERS = (
    "POST /sign-in/break-glass",
    "POST /sign-in/back-channel-logout",
    "POST /sign-out",
    "POST /v1/lists/{list_name}/confirm",
    "POST /v1/webhooks/{source_id}",
)
CHANGES_NOTHING_OF_OURS = (
    "POST /policy/preview",
    "POST /profiles/{name}/preview",
    "POST /v1/policy/preview",
    "POST /v1/profiles/{name}/preview",
    "POST /v1/events:batch",
    "POST /v1/sensors/{sensor_id}/status",
    "POST /v1/usage-metrics",
)
WAYS = [*AccessRole, *TokenScope, None]


def documented() -> dict[tuple[str, str], tuple[str, str, str, str]]:
    """Return what docs/security.md says of each route: least role, scopes, area, step-up."""
    found = {}
    for line in SECURITY.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if re.match(r"\| `(GET|POST|PUT|DELETE) ", line):
            for route in re.findall(r"`([A-Z]+ [^`]+)`", cells[0]):
                method, _, path = route.partition(" ")
                assert (method, path) not in found, route
                found[method, path] = (cells[1], cells[2], cells[3], cells[4])
    return found


def as_documented(rule: Rule) -> tuple[str, str, str, str]:
    people = "everybody" if rule.is_open else rule.role or "nobody"
    any_scope = rule.scopes == frozenset(TokenScope)
    scopes = "everybody" if rule.is_open else "any" if any_scope else " ".join(f"`{it}`" for it in sorted(rule.scopes))
    return people, scopes or "none", rule.area, "yes" if rule.is_dangerous else ""


def test_the_table_in_the_documentation_is_that_of_the_program() -> None:
    assert documented() == {route: as_documented(rule) for route, rule in TABLE.items()}


def test_every_route_has_a_row_and_every_row_a_route(installation: Installation) -> None:
    routes = set(routes_of(create_app(installation.context())))
    assert routes == set(TABLE)
    with pytest.raises(LookupError, match="/v1/secrets"):
        require_complete(iter([("GET", "/v1/secrets")]))


def test_what_changes_something_is_noted_or_named_here() -> None:
    changing = {f"{method} {path}" for method, path in TABLE if method not in SAFE_METHODS}
    assert changing - set(ACTIONS) - set(DEEDS) == {*NOTED_BY_HANDLERS, *CHANGES_NOTHING_OF_OURS}


@pytest.fixture
def patient(installation: Installation) -> Iterator[httpx.Client]:
    """A server that lets one address fail at more routes than there are."""
    with serving(installation, AccessConfig(require=True, limits=LimitConfig(unknown="10000/minute"))) as client:
        yield client


def test_every_route_with_every_role_and_scope(installation: Installation, patient: httpx.Client) -> None:
    installation.publish_both()
    add_token(installation.store)  # so that credentials can be judged at all
    known = {way: credentials(installation, way) for way in WAYS}
    installation.now_ns += 2 * SECOND_NS
    rows = documented()
    for way, headers in known.items():
        opened = {route for route in sorted(TABLE, key=ENDS_THE_SESSION.__eq__) if is_open(patient, route, headers)}
        assert opened == {route for route, row in rows.items() if expects(row, way)}, way


def expects(row: tuple[str, str, str, str], way: AccessRole | TokenScope | None) -> bool:
    """Tell whether the row of the documentation opens a route to a role, a scope or nobody."""
    people, scopes, _, _ = row
    roles = list(AccessRole)
    if people == "everybody":
        return True
    if isinstance(way, AccessRole):
        return people in roles and roles.index(way) >= roles.index(AccessRole(people))
    if isinstance(way, TokenScope):
        return scopes == "any" or f"`{way}`" in scopes or (way is TokenScope.ADMIN and people in roles)
    return False


def credentials(installation: Installation, way: AccessRole | TokenScope | None) -> dict[str, str]:
    """Return the headers by which somebody of this kind says who it is."""
    if isinstance(way, AccessRole):
        return sign_in(installation, way)
    if isinstance(way, TokenScope):
        sensor = "gateway-1" if way is TokenScope.EVENTS_WRITE else None
        return {"X-Api-Key": add_token(installation.store, scopes=(way,), name=way, sensor_id=sensor)}
    return {}


def is_open(client: httpx.Client, route: tuple[str, str], headers: dict[str, str]) -> bool:
    """Tell whether a route lets somebody pass to its handler, which may find nothing there."""
    method, path = route
    in_path = headers.get("X-Api-Key", PARTS["token"]) if "{token}" in path else ""
    target = re.sub(r"\{(\w+)\}", lambda part: in_path if part[1] == "token" else PARTS[part[1]], path)
    how = "HEAD" if path.endswith(("/stream", "/export")) else method
    body: dict[str, object] | None = {} if method in {"POST", "PUT"} else None
    answer = client.request(how, target, headers={} if in_path else headers, json=body)
    assert answer.status_code < 500 or answer.status_code == 503, (route, answer.text)
    is_door = path.startswith("/sign-in") and answer.headers["content-type"].startswith("text/html")
    return is_door or answer.status_code not in REFUSED


def answers(client: httpx.Client, headers: dict[str, str], *paths: str) -> Iterator[int]:
    yield from (client.get(path, headers=headers).status_code for path in paths)


def test_a_sensor_cannot_read_and_a_feed_token_reads_one_list(installation: Installation, closed: httpx.Client) -> None:
    installation.publish_both()
    sensor = {"X-Api-Key": add_token(installation.store, scopes=(TokenScope.EVENTS_WRITE,), sensor_id="gateway-1")}
    feed = {"X-Api-Key": add_token(installation.store, list_name="unsanctioned-domains")}
    installation.now_ns += 2 * SECOND_NS
    assert set(answers(closed, sensor, "/v1/events", "/v1/findings", "/feeds/unsanctioned-domains.txt")) == {403}
    paths = ("/feeds/unsanctioned-domains.txt", "/feeds/unsanctioned-addresses.txt", "/v1/events")
    assert list(answers(closed, feed, *paths)) == [200, 403, 403]
