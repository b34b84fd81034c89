"""Events: what the sensors detected, newest first."""

from typing import Annotated

from fastapi import APIRouter, Path, Query
from starlette.requests import Request
from starlette.responses import Response

from api.access.audit import audit
from api.cursors import CursorSigner
from api.dependencies import Context
from api.documents import json_response
from api.explained import explained
from api.openapi import problems
from api.paging import Row, open_page
from api.problems import Kind, Problem
from api.queries import EventQuery
from api.schemas import EventDetail, EventPage
from api.times import DAY_NS
from api.veil import Shown
from db.values import EventCursor
from rules.event import to_document

router = APIRouter(tags=["events"])
PCAP = "application/vnd.tcpdump.pcap"
PCAP_SCHEMA = {"schema": {"type": "string", "format": "binary"}}
NO_EVENT = "No event has this id; /v1/events lists those there are."
NO_EVIDENCE = (
    "No packets are stored with this event: its sensor keeps none (MOLECATCHER_EVIDENCE=false, or it read a proxy's "
    "log), they had to make room for those of newer events, or there was no room when it was reported."
)


@router.get("/v1/events", response_model=EventPage, responses=problems(422, 503))
def list_events(query: Annotated[EventQuery, Query()], context: Context, shown: Shown, request: Request) -> Response:
    """Events, newest first; those of the last 24 hours unless `from` or `to` is given."""
    signer = CursorSigner(context.cursor_secret, "events")
    page = open_page(signer, query.to_filter(), query.limit, query.cursor, context.now_ns() - DAY_NS)
    after = EventCursor(page.after.at_ns, page.after.row_id) if page.after else None
    events = map(shown.event, context.store.events(shown.events(page.wanted), query.limit + 1, after))
    return page.respond([Row(row.observed_at_ns, row.event_id, to_document(row)) for row in events], request.url)


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
    shown.require_names()
    octets = context.store.evidence(event_id)
    if octets is None:
        if context.store.event(event_id) is None:
            raise Problem(Kind.NOT_FOUND, NO_EVENT)
        raise Problem(Kind.NOT_FOUND, NO_EVIDENCE)
    audit(request, "evidence.read", event_id)
    headers = {"Content-Disposition": f'attachment; filename="{event_id}.pcap"', "Cache-Control": "no-store"}
    return Response(octets, headers=headers, media_type=PCAP)
