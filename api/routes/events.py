"""Events: what the sensors detected, newest first."""

from typing import Annotated

from fastapi import APIRouter, Path, Query
from starlette.requests import Request
from starlette.responses import Response

from api.cursors import CursorSigner
from api.dependencies import Context
from api.documents import json_response
from api.openapi import problems
from api.paging import Row, open_page
from api.problems import Kind, Problem
from api.queries import EventQuery
from api.schemas import EventDetail, EventPage
from api.times import DAY_NS
from db.values import EventCursor
from rules.event import to_document
from rules.explain import explain

router = APIRouter(tags=["events"])


@router.get("/v1/events", response_model=EventPage, responses=problems(422, 503))
def list_events(query: Annotated[EventQuery, Query()], context: Context, request: Request) -> Response:
    """Events, newest first; those of the last 24 hours unless `from` or `to` is given."""
    signer = CursorSigner(context.cursor_secret, "events")
    page = open_page(signer, query.to_filter(), query.limit, query.cursor, context.now_ns() - DAY_NS)
    after = EventCursor(page.after.at_ns, page.after.row_id) if page.after else None
    events = context.store.events(page.wanted, query.limit + 1, after)
    return page.respond([Row(row.observed_at_ns, row.event_id, to_document(row)) for row in events], request.url)


@router.get("/v1/events/{event_id}", response_model=EventDetail, responses=problems(404, 422, 503))
def get_event(event_id: Annotated[str, Path(max_length=64)], context: Context) -> Response:
    """One event in its highest revision, with its verdict explained in sentences."""
    event = context.store.event(event_id)
    if event is None:
        raise Problem(Kind.NOT_FOUND, "No event has this id; /v1/events lists those there are.")
    service = next((row for row in context.catalogue_services() if row.id == event.service), None)
    name = service.name if service else event.service or "an unknown service"
    explanation = explain(event, name, service.decision if service else None)
    return json_response({**to_document(event), "explanation": explanation})
