"""Services: what the catalogue knows, what was decided, and what was seen."""

from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Path, Query
from starlette.responses import Response

from api.caller import Who
from api.context import ApiContext, ServiceRow
from api.dependencies import Context
from api.documents import json_response
from api.openapi import problems
from api.policy.checks import NO_SERVICE, require_decidable
from api.problems import Kind, Problem
from api.requests.bodies import DecisionBody
from api.requests.parameters import WindowQuery
from api.schemas.services import ServiceList
from api.schemas.workflow import DecisionDocument
from api.times import DAY_NS
from db.values import ServiceCount
from db.workflow.values import StoredDecision
from rules.catalogue.service import CATEGORIES
from rules.policy.policy import PolicyOrigin
from rules.values.event import rfc3339

router = APIRouter(tags=["services"])
ServicePath = Annotated[str, Path(max_length=64)]


@router.get("/v1/services", response_model=ServiceList, responses=problems(422, 503))
def list_services(query: Annotated[WindowQuery, Query()], context: Context) -> Response:
    """Every service of the catalogue with what was seen of it, by default in the last 24 hours."""
    to_ns = query.to_ns if query.to_ns is not None else context.now_ns() + 1
    from_ns = query.from_ns if query.from_ns is not None else max(0, to_ns - DAY_NS)
    counts = {count.service: count for count in context.store.service_counts(from_ns, to_ns)}
    known = {row.id: row for row in context.catalogue_services()}
    rows = sorted(((known.get(key or ""), counts.get(key), key) for key in {*known, *counts}), key=_place)
    items = [_document(*row) for row in rows]
    seen = {"seen_from": rfc3339(from_ns), "seen_to": rfc3339(to_ns)}
    return json_response({"catalogue": asdict(context.catalogue_status()), **seen, "items": items})


@router.get("/v1/services/{service_id}", response_model=DecisionDocument, responses=problems(404, 422, 503))
def get_service(service_id: ServicePath, context: Context) -> Response:
    """What is decided of a service or a category, by whom, and where that stands."""
    return _decided(service_id, context)


@router.put("/v1/services/{service_id}", response_model=DecisionDocument, responses=problems(404, 409, 422, 503))
def decide_service(service_id: ServicePath, body: DecisionBody, context: Context, who: Who) -> Response:
    """Decide about a service or a category: `block` lists it, `monitor` reports it, `ignore` does neither.

    Where the policy file speaks of it, the file wins and this is refused.
    """
    _require_known(service_id, context)
    require_decidable(service_id, context.ruleset())
    decision = StoredDecision(
        service=service_id, **body.model_dump(), changed_by=who.name, changed_at_ns=context.now_ns()
    )
    context.store.policy.decide_service(decision)
    context.policy_changed()
    return _decided(service_id, context)


@router.delete("/v1/services/{service_id}", response_model=DecisionDocument, responses=problems(404, 422, 503))
def forget_decision(service_id: ServicePath, context: Context) -> Response:
    """Take back what was decided over the API; the answer is what holds now."""
    _require_known(service_id, context)
    if context.store.policy.forget_decision(service_id):
        context.policy_changed()
    return _decided(service_id, context)


def _require_known(service_id: str, context: ApiContext) -> None:
    if service_id not in context.ruleset().catalogue.services and service_id not in CATEGORIES:
        raise Problem(Kind.NOT_FOUND, NO_SERVICE)


def _decided(service_id: str, context: ApiContext) -> Response:
    _require_known(service_id, context)
    rules = context.ruleset()
    service, policy = rules.catalogue.services.get(service_id), rules.policy
    kept = next((row for row in context.store.policy.decisions() if row.service == service_id), None)
    in_database = kept if service_id in policy.decided_in_database else None
    in_file = service_id in policy.decisions and service_id not in policy.decided_in_database
    origin = PolicyOrigin.FILE if in_file else PolicyOrigin.DATABASE if in_database else None
    return json_response(
        {
            "id": service_id,
            "name": service.name if service else service_id,
            "category": service.category if service else None,
            "decision": policy.decide(service) if service else policy.decisions.get(service_id),
            "origin": origin,
            "owner": in_database.owner if in_database else None,
            "reason": in_database.reason if in_database else None,
            "changed_by": in_database.changed_by if in_database else None,
            "changed_at": rfc3339(in_database.changed_at_ns) if in_database else None,
        }
    )


def _place(row: tuple[ServiceRow | None, ServiceCount | None, str | None]) -> tuple[int, str]:
    service, count, key = row
    return -(count.last_seen_ns if count else 0), service.name.lower() if service else key or ""


def _document(service: ServiceRow | None, count: ServiceCount | None, key: str | None) -> dict[str, object]:
    return {
        "id": key,
        "name": service.name if service else key or "no service named",
        "category": service.category if service else None,
        "confidence": service.confidence if service else None,
        "decision": service.decision if service else None,
        "homepage": service.homepage if service else None,
        "seen": {
            "events": count.events if count else 0,
            "sightings": count.sightings if count else 0,
            "sources": count.sources if count else 0,
            "last_seen": rfc3339(count.last_seen_ns) if count else None,
        },
    }
