"""Services: what the catalogue knows, what was decided, and what was seen."""

from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from api.context import ServiceRow
from api.dependencies import Context
from api.documents import json_response
from api.openapi import problems
from api.queries import WindowQuery
from api.schemas import ServiceList
from api.times import DAY_NS
from db.values import ServiceCount
from rules.event import rfc3339

router = APIRouter(tags=["services"])


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
