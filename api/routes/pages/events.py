"""Events: the latest that a filter lets through, and one with everything that explains it."""

from typing import Annotated

from fastapi import APIRouter, Path
from starlette.requests import Request
from starlette.responses import HTMLResponse

from api.access.audit import audit
from api.access.principal import principal_of
from api.access.table import TABLE
from api.caller import Who
from api.dependencies import Context
from api.explained import explained
from api.page.filters import EVENT_CHOICES, exports_of, read_query, windows_of
from api.page.names import short_names
from api.page.render import Section, render
from api.page.searches import make_searches
from api.problems import Kind, Problem
from api.requests.parameters import EventQuery
from api.routes.events import NO_EVENT, NO_EVIDENCE, events_page
from api.veil import Shown
from db.workflow.values import SearchedResource

LATE_NS = 60_000_000_000  # what takes longer waited on its sensor's disk, or its clock is wrong
NOT_FOR_YOU = "Packets are shown to analysts, whose looks are logged; your role is below that."

router = APIRouter()


@router.get("/events")
def get_events(context: Context, shown: Shown, who: Who, request: Request) -> HTMLResponse:
    """Return the events that the query in the address asks for, by default those of the last 24 hours."""
    query, refused = read_query(EventQuery, request)
    page = events_page(context, shown, query)
    return render(
        request,
        "events.html",
        Section.EVENTS,
        status=422 if refused else 200,
        page=page,
        events=[shown.event(event) for event in page.rows],
        query=query,
        refused=refused,
        searches=make_searches(context, SearchedResource.EVENTS, request, who),
        choices=EVENT_CHOICES,
        windows=windows_of(request, query, context.now_ns()),
        exports=exports_of(request),
        names=short_names(context),
        next_page=page.address_of_next(request.url),
    )


@router.get("/events/{event_id}")
def get_event_page(
    event_id: Annotated[str, Path(max_length=64)], context: Context, shown: Shown, request: Request
) -> HTMLResponse:
    """Return one event: what it means, how that is known, since when, and the packets that decided."""
    event = context.store.event(event_id)
    if event is None:
        raise Problem(Kind.NOT_FOUND, NO_EVENT)
    event = shown.event(event)
    evidence = context.store.evidence(event_id) if shown.pseudonyms is None else None
    may_look = principal_of(request).may(TABLE["GET", "/v1/events/{event_id}/evidence.pcap"])
    if evidence is not None and may_look:
        audit(request, "evidence.read", event_id)
    return render(
        request,
        "event.html",
        Section.EVENTS,
        event=event,
        sentences=explained(event, context),
        is_late=event.received_at_ns is not None and event.received_at_ns - event.observed_at_ns > LATE_NS,
        policy_digest=context.ruleset().basis.policy_digest,
        has_evidence=evidence is not None and may_look,
        packets=context.dissect(evidence) if evidence is not None and may_look else (),
        no_evidence=NO_EVIDENCE if may_look else NOT_FOR_YOU,
    )
