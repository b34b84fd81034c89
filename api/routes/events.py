"""Events: what the sensors detected, newest first."""

from typing import Annotated

from fastapi import APIRouter, Path, Query
from starlette.requests import Request
from starlette.responses import Response

from api.access.audit import audit
from api.access.principal import principal_of
from api.access.refusals import note_refusal
from api.context import ApiContext
from api.dependencies import Context
from api.documents import json_response
from api.explained import explained
from api.openapi import problems
from api.problems import Kind, Problem
from api.requests.paging import RowPage, page_of
from api.requests.parameters import EventQuery
from api.schemas.events import EventDetail, EventPage
from api.times import DAY_NS
from api.veil import Shown, Veil
from db.values import EventCursor
from rules.values.event import Event, to_document

router = APIRouter(tags=["events"])
PCAP = "application/vnd.tcpdump.pcap"
PCAP_SCHEMA = {"schema": {"type": "string", "format": "binary"}}
EVIDENCE_READ = "evidence.read"
NO_EVENT = "No event has this id; /v1/events lists those there are."
NO_EVIDENCE = (
    "No packets are stored with this event: its sensor keeps none (MOLECATCHER_EVIDENCE=false, or it read a proxy's "
    "log), they had to make room for those of newer events, or there was no room when it was reported."
)


@router.get("/v1/events", response_model=EventPage, responses=problems(422, 503))
def list_events(query: Annotated[EventQuery, Query()], context: Context, shown: Shown, request: Request) -> Response:
    """Events, newest first; those of the last 24 hours unless `from` or `to` is given."""
    page = events_page(context, shown, query)
    return page.respond(request.url, lambda row: to_document(shown.event(row)))


def events_page(context: ApiContext, shown: Veil, query: EventQuery) -> RowPage[Event]:
    """Return the events that `query` asks for as they are in the store, by default those of the last 24 hours."""
    return page_of(
        context,
        "events",
        query,
        fetch=lambda wanted, limit, at: context.store.events(
            shown.events(wanted), limit, EventCursor(at.at_ns, at.row_id) if at else None
        ),
        place=lambda event: (event.observed_at_ns, event.event_id),
        default_from_ns=max(0, context.now_ns() - DAY_NS),
    )


@router.get("/v1/events/{event_id}", response_model=EventDetail, responses=problems(404, 422, 503))
def get_event(event_id: Annotated[str, Path(max_length=64)], context: Context, shown: Shown) -> Response:
    """One event in its highest revision, with its verdict explained in sentences."""
    event = context.store.event(event_id)
    if event is None:
        raise Problem(Kind.NOT_FOUND, NO_EVENT)
    event = shown.event(event)
    return json_response({**to_document(event), "explanation": explained(event, context)})


@router.get(
    "/v1/events/{event_id}/evidence.pcap",
    response_class=Response,
    responses={200: {"description": "A pcapng file", "content": {PCAP: PCAP_SCHEMA}}, **problems(403, 404, 422, 503)},
)
def get_evidence(
    event_id: Annotated[str, Path(max_length=64)], context: Context, shown: Shown, request: Request
) -> Response:
    """The few packets that an event rests on, as pcapng, each with a comment that says why it is there.

    Secrets in clear text are blanked and packets may be cut; lengths on the wire, tags and interface are as captured.
    """
    try:
        shown.require_names()
    except Problem:
        note_refusal(request, EVIDENCE_READ, event_id, principal=principal_of(request))
        raise
    octets = context.store.evidence(event_id)
    if octets is None:
        if context.store.event(event_id) is None:
            raise Problem(Kind.NOT_FOUND, NO_EVENT)
        raise Problem(Kind.NOT_FOUND, NO_EVIDENCE)
    audit(request, EVIDENCE_READ, event_id)
    headers = {"Content-Disposition": f'attachment; filename="{event_id}.pcap"', "Cache-Control": "no-store"}
    return Response(octets, headers=headers, media_type=PCAP)
