"""Who may call what: the one table, which docs/security.md shows and every route is judged by.

A person needs the role of the row or one above it, a token one of its scopes; a token with the scope `admin` may do
what the role admin may. A route that is not here cannot be served.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from starlette.requests import Request

from db.access.values import AccessRole, TokenScope

ROLES = tuple(AccessRole)


class Area(StrEnum):
    """What an address policy speaks of."""

    PAGE = "page"
    API = "api"
    FEEDS = "feeds"
    SENSORS = "sensors"


@dataclass(frozen=True, slots=True)
class Rule:
    """Who may call a route. `role` None: no person; `is_dangerous`: a person must have signed in just now.

    `is_door`: open to everybody from the addresses of its area, to sign in.
    """

    area: Area
    role: AccessRole | None = None
    scopes: frozenset[TokenScope] = frozenset()
    is_open: bool = False
    is_door: bool = False
    is_dangerous: bool = False

    @property
    def is_sensitive(self) -> bool:
        """Tell whether what the route shows is not for everybody with a role: packets, tokens, the audit log."""
        return self.role is not None and self.role is not AccessRole.VIEWER

    def opens_to_role(self, role: AccessRole) -> bool:
        """Tell whether a person of this role may."""
        return self.role is not None and ROLES.index(role) >= ROLES.index(self.role)

    def opens_to_scopes(self, scopes: frozenset[TokenScope]) -> bool:
        """Tell whether a token of these scopes may."""
        return bool(self.scopes & scopes) or (TokenScope.ADMIN in scopes and self.role is not None)


VIEWER, ANALYST, EDITOR, ADMIN = ROLES
_ANY = frozenset(TokenScope)
_OPEN = Rule(Area.PAGE, is_open=True)
_DOOR = Rule(Area.PAGE, is_open=True, is_door=True)
_PAGE = Rule(Area.PAGE, VIEWER)
_EDIT_PAGE = Rule(Area.PAGE, EDITOR)
_ADMIN_PAGE = Rule(Area.PAGE, ADMIN)
_EVENTS = Rule(Area.API, VIEWER, frozenset({TokenScope.EVENTS_READ}))
_EVIDENCE = Rule(Area.API, ANALYST, frozenset({TokenScope.EVIDENCE_READ}))
_FINDINGS = Rule(Area.API, ANALYST, frozenset({TokenScope.FINDINGS_WRITE}))
_POLICY = Rule(Area.API, VIEWER, frozenset({TokenScope.POLICY_READ, TokenScope.POLICY_WRITE}))
_EDIT = Rule(Area.API, EDITOR, frozenset({TokenScope.POLICY_WRITE}))
_PUBLISH = Rule(Area.API, EDITOR, frozenset({TokenScope.POLICY_WRITE}), is_dangerous=True)
_FEEDS = Rule(Area.FEEDS, VIEWER, frozenset({TokenScope.FEEDS_READ}))
_FEEDS_BY_PATH = Rule(Area.FEEDS, None, _FEEDS.scopes)
_DECISIONS = Rule(Area.FEEDS, VIEWER, frozenset({TokenScope.DECISIONS_READ}))
_SENSOR = Rule(Area.SENSORS, None, frozenset({TokenScope.EVENTS_WRITE}))
_ENROL = Rule(Area.SENSORS, None, frozenset({TokenScope.SENSORS_ENROL}))
_METRICS = Rule(Area.API, VIEWER, frozenset({TokenScope.METRICS_READ}))
_AUDIT = Rule(Area.API, ADMIN, frozenset({TokenScope.AUDIT_READ}))
_ADMIN = Rule(Area.API, ADMIN, frozenset({TokenScope.ADMIN}))
_DANGER = Rule(Area.API, ADMIN, frozenset({TokenScope.ADMIN}), is_dangerous=True)
_SIGNED = Rule(Area.API, is_open=True)  # by its signature, which the route itself checks
_ANYBODY = Rule(Area.API, VIEWER, _ANY)

_COLLECTION = "/taxii2/lists/collections/{collection_id}/"
_ROWS: tuple[tuple[Rule, str, tuple[str, ...]], ...] = (
    (_OPEN, "GET", ("/healthz", "/blocked")),
    (_DOOR, "GET", ("/sign-in", "/sign-in/oidc", "/sign-in/callback")),
    (_DOOR, "POST", ("/sign-in/break-glass",)),
    (_OPEN, "POST", ("/sign-in/back-channel-logout",)),  # by its token, which the route itself checks
    (_PAGE, "GET", ("/sign-out",)),
    (_PAGE, "POST", ("/sign-out",)),
    (_PAGE, "GET", ("/", "/fragments/live", "/events", "/events/{event_id}", "/findings", "/findings/{finding_id}")),
    (_PAGE, "GET", ("/services", "/lists", "/lists/{list_name}", "/sensors", "/policy")),
    (_PAGE, "GET", ("/profiles",)),
    (_EDIT_PAGE, "POST", ("/policy/preview", "/profiles/{name}/preview")),
    (_ADMIN_PAGE, "GET", ("/outputs", "/tokens", "/audit")),
    (_ANYBODY, "GET", ("/v1/openapi.json", "/v1/me")),
    (_EVENTS, "GET", ("/v1/events", "/v1/events/{event_id}", "/v1/events/aggregate", "/v1/events/export")),
    (_EVENTS, "GET", ("/v1/events/stream", "/v1/findings", "/v1/findings/{finding_id}", "/v1/services")),
    (_EVENTS, "GET", ("/v1/sensors", "/v1/lists", "/v1/lists/{list_name}", "/v1/lists/{list_name}/entries")),
    (_EVENTS, "GET", ("/v1/lists/{list_name}/snapshots", "/v1/lists/{list_name}/diff")),
    (_EVENTS, "GET", ("/v1/consumers", "/v1/lists/{list_name}/consumers")),
    (_EVIDENCE, "GET", ("/v1/events/{event_id}/evidence.pcap",)),
    (_EVENTS, "GET", ("/v1/findings/{finding_id}/history", "/v1/searches", "/v1/searches/{search_id}")),
    (_EVENTS, "POST", ("/v1/searches",)),
    (_EVENTS, "PUT", ("/v1/searches/{search_id}",)),
    (_EVENTS, "DELETE", ("/v1/searches/{search_id}",)),
    (_FINDINGS, "POST", ("/v1/findings/{finding_id}/state", "/v1/findings/{finding_id}/comments", "/v1/findings:bulk")),
    (_FINDINGS, "PUT", ("/v1/findings/{finding_id}/assignee",)),
    (_FINDINGS, "POST", ("/v1/demonstration",)),
    (_FINDINGS, "DELETE", ("/v1/demonstration",)),
    (_POLICY, "GET", ("/v1/policy", "/v1/exceptions", "/v1/exceptions/{exception_id}", "/v1/blocked")),
    (_POLICY, "GET", ("/v1/sanctioned", "/v1/never-blocked", "/v1/profiles")),
    (_EDIT, "POST", ("/v1/profiles/{name}/preview",)),
    (_PUBLISH, "PUT", ("/v1/profiles/{name}",)),
    (_PUBLISH, "DELETE", ("/v1/profiles/{name}",)),
    (_POLICY, "GET", ("/v1/services/{service_id}",)),
    (_EDIT, "PUT", ("/v1/services/{service_id}",)),
    (_EDIT, "POST", ("/v1/policy/preview",)),
    (_EDIT, "DELETE", ("/v1/services/{service_id}",)),
    (_EDIT, "POST", ("/v1/exceptions/{exception_id}/reject", "/v1/exceptions/{exception_id}/revoke")),
    (_PUBLISH, "POST", ("/v1/exceptions", "/v1/exceptions/{exception_id}/approve", "/v1/blocked")),
    (_PUBLISH, "POST", ("/v1/sanctioned", "/v1/sanctioned/{sanction_id}/approve", "/v1/never-blocked")),
    (_PUBLISH, "POST", ("/v1/lists/{list_name}/confirm",)),
    (_PUBLISH, "DELETE", ("/v1/blocked/{entry_id}", "/v1/never-blocked/{entry_id}", "/v1/sanctioned/{sanction_id}")),
    (_FEEDS_BY_PATH, "GET", ("/feeds/t/{token}/{file_name}",)),
    (_FEEDS, "GET", ("/feeds/{file_name}", "/feeds/p/{profile}/{file_name}")),
    (_FEEDS, "GET", ("/misp/manifest.json", "/misp/hashes.csv", "/misp/{event_id}.json")),
    (_FEEDS, "GET", ("/taxii2/", "/taxii2/lists/", "/taxii2/lists/collections/", _COLLECTION)),
    (_FEEDS, "GET", (f"{_COLLECTION}objects/", f"{_COLLECTION}manifest/", f"{_COLLECTION}objects/{{object_id}}/")),
    (_FEEDS, "GET", (f"{_COLLECTION}objects/{{object_id}}/versions/",)),
    (_SENSOR, "POST", ("/v1/events:batch", "/v1/sensors/{sensor_id}/status")),
    (_SENSOR, "GET", ("/v1/sensors/{sensor_id}/rules", "/v1/sensors/{sensor_id}/catalogue")),
    (_ENROL, "POST", ("/v1/sensors:enrol",)),
    (_DECISIONS, "GET", ("/v1/decisions", "/v1/decisions/stream")),
    (_DECISIONS, "POST", ("/v1/usage-metrics",)),
    (_METRICS, "GET", ("/metrics", "/readyz")),
    (_ADMIN, "GET", ("/v1/sessions",)),
    (_ADMIN, "POST", ("/v1/sessions/{session_id}/revoke",)),
    (_ADMIN, "GET", ("/v1/tokens", "/v1/tokens/{token_id}")),
    (_DANGER, "POST", ("/v1/tokens", "/v1/tokens/{token_id}/rotate", "/v1/tokens/{token_id}/revoke")),
    (_AUDIT, "GET", ("/v1/audit", "/v1/audit/export")),
    (_ADMIN, "GET", ("/v1/outputs", "/v1/outputs/{output_id}", "/v1/outputs/{output_id}/dead-letters")),
    (_ADMIN, "GET", ("/v1/webhook-sources",)),
    (_ADMIN, "POST", ("/v1/outputs/{output_id}/dead-letters/replay", "/v1/outputs/{output_id}/try")),
    (_ADMIN, "POST", ("/v1/outputs/{output_id}/pause", "/v1/outputs/{output_id}/resume")),
    (_DANGER, "POST", ("/v1/outputs", "/v1/outputs/{output_id}/rotate", "/v1/webhook-sources")),
    (_DANGER, "DELETE", ("/v1/outputs/{output_id}", "/v1/webhook-sources/{source_id}")),
    (_SIGNED, "POST", ("/v1/webhooks/{source_id}",)),
)
_CHANGES = {
    "finding.update": ("POST /v1/findings/{finding_id}/state", "PUT /v1/findings/{finding_id}/assignee"),
    "finding.comment": ("POST /v1/findings/{finding_id}/comments",),
    "findings.update": ("POST /v1/findings:bulk",),
    "profile.update": ("PUT /v1/profiles/{name}",),
    "profile.delete": ("DELETE /v1/profiles/{name}",),
    "sanction.create": ("POST /v1/sanctioned",),
    "sanction.approve": ("POST /v1/sanctioned/{sanction_id}/approve",),
    "sanction.delete": ("DELETE /v1/sanctioned/{sanction_id}",),
    "exception.create": ("POST /v1/exceptions",),
    "exception.approve": ("POST /v1/exceptions/{exception_id}/approve",),
    "exception.reject": ("POST /v1/exceptions/{exception_id}/reject",),
    "exception.revoke": ("POST /v1/exceptions/{exception_id}/revoke",),
    "service.update": ("PUT /v1/services/{service_id}",),
    "blocked.create": ("POST /v1/blocked",),
    "blocked.delete": ("DELETE /v1/blocked/{entry_id}",),
    "never_blocked.create": ("POST /v1/never-blocked",),
    "never_blocked.delete": ("DELETE /v1/never-blocked/{entry_id}",),
    "search.create": ("POST /v1/searches",),
    "search.update": ("PUT /v1/searches/{search_id}",),
    "search.delete": ("DELETE /v1/searches/{search_id}",),
    "output.create": ("POST /v1/outputs",),
    "output.delete": ("DELETE /v1/outputs/{output_id}",),
    "output.pause": ("POST /v1/outputs/{output_id}/pause",),
    "output.resume": ("POST /v1/outputs/{output_id}/resume",),
    "output.rotate": ("POST /v1/outputs/{output_id}/rotate",),
    "webhook_source.create": ("POST /v1/webhook-sources",),
    "webhook_source.delete": ("DELETE /v1/webhook-sources/{source_id}",),
    "service.delete": ("DELETE /v1/services/{service_id}",),
    "token.create": ("POST /v1/tokens",),
    "token.rotate": ("POST /v1/tokens/{token_id}/rotate",),
    "token.revoke": ("POST /v1/tokens/{token_id}/revoke",),
    "session.revoke": ("POST /v1/sessions/{session_id}/revoke",),
    "sensor.enrol": ("POST /v1/sensors:enrol",),
}
_DEEDS = {
    "demonstration.create": ("POST /v1/demonstration",),
    "demonstration.delete": ("DELETE /v1/demonstration",),
    "output.try": ("POST /v1/outputs/{output_id}/try",),
    "output.replay": ("POST /v1/outputs/{output_id}/dead-letters/replay",),
}
# What changes rows is noted with each change; of the rest there is no row to say before and after of.
DEEDS = {route: action for action, routes in _DEEDS.items() for route in routes}
ACTIONS = {route: action for action, routes in _CHANGES.items() for route in routes}
TABLE = {(method, path): rule for rule, method, paths in _ROWS for path in paths}


def rule_of(request: Request) -> Rule:
    """Return the rule of the route that a request has reached."""
    route = request.scope["route"]
    return TABLE[request.method, route.path]


def require_complete(routes: Iterator[tuple[str, str]]) -> None:
    """Return when every route, as method and path, has a rule.

    Raises:
        LookupError: one has none, so nobody could say who may call it.
    """
    without = sorted(set(routes) - set(TABLE))
    if without:
        raise LookupError(f"no rule in api.access.table for {without}")
