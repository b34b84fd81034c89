"""The page, the part of it that renews itself, and what people are told whose connection was blocked."""

from typing import Annotated

from fastapi import APIRouter, Path
from starlette.requests import Request
from starlette.responses import HTMLResponse

from api.access.audit import audit
from api.access.principal import principal_of
from api.access.table import TABLE
from api.dependencies import Context
from api.explained import explained
from api.page.view import make_view
from api.problems import Kind, Problem
from api.routes.events import NO_EVENT, NO_EVIDENCE

NOT_FOR_YOU = "Packets are shown to analysts, whose looks are logged; your role is below that."
NO_STORE = {"Cache-Control": "no-store"}

router = APIRouter(include_in_schema=False)


@router.get("/")
def get_page(context: Context, request: Request) -> HTMLResponse:
    """Return the whole page."""
    return _render("page.html", context, request)


@router.get("/fragments/live")
def get_live(context: Context, request: Request) -> HTMLResponse:
    """Return what changes on the page."""
    return _render("live.html", context, request)


@router.get("/events/{event_id}")
def get_event_page(event_id: Annotated[str, Path(max_length=64)], context: Context, request: Request) -> HTMLResponse:
    """Return one event: what it means, how that is known, since when, and the packets that decided."""
    event = context.store.event(event_id)
    if event is None:
        raise Problem(Kind.NOT_FOUND, NO_EVENT)
    evidence = context.store.evidence(event_id)
    may_look = principal_of(request).may(TABLE["GET", "/v1/events/{event_id}/evidence.pcap"])
    if evidence is not None and may_look:
        audit(request, "evidence.read", event_id)
    text = request.app.state.templates.render(
        "event.html",
        event=event,
        sentences=explained(event, context),
        has_evidence=evidence is not None and may_look,
        packets=context.dissect(evidence) if evidence is not None and may_look else (),
        no_evidence=NO_EVIDENCE if may_look else NOT_FOR_YOU,
        now_ns=context.now_ns(),
    )
    return HTMLResponse(text, headers=NO_STORE)


@router.get("/blocked")
def get_blocked(context: Context, request: Request) -> HTMLResponse:
    """Return what a person is told whose connection was refused; it says nothing of anybody."""
    sanctioned = [row for row in context.policy_status().sanctioned if row.is_active]
    text = request.app.state.templates.render("blocked.html", sanctioned=sanctioned)
    return HTMLResponse(text, headers=NO_STORE)


def _render(template: str, context: Context, request: Request) -> HTMLResponse:
    origin = f"{request.url.scheme}://{request.headers['host']}"
    view = make_view(context, request.app.state.kept_chart)
    text = request.app.state.templates.render(template, view=view, origin=origin)
    return HTMLResponse(text, headers=NO_STORE)
