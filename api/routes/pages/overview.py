"""The overview, the part of it that renews itself, and what people are told whose connection was blocked."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import HTMLResponse

from api.dependencies import Context
from api.feeds.pull_log import consumers_of
from api.page.overview import make_view
from api.page.render import NO_STORE, Section, origin_of, render
from api.routes.sensors import rules_of
from api.veil import Shown

router = APIRouter()


@router.get("/")
def get_overview(context: Context, shown: Shown, request: Request) -> HTMLResponse:
    """Return the overview."""
    return _render("overview.html", context, shown, request)


@router.get("/fragments/live")
def get_live(context: Context, shown: Shown, request: Request) -> HTMLResponse:
    """Return what changes on the overview."""
    return _render("live.html", context, shown, request)


@router.get("/blocked")
def get_blocked(context: Context, request: Request) -> HTMLResponse:
    """Return what a person is told whose connection was refused; it says nothing of anybody."""
    sanctioned = [row for row in context.policy_status().sanctioned if row.is_active]
    text = request.app.state.templates.render("blocked.html", sanctioned=sanctioned)
    return HTMLResponse(text, headers=NO_STORE)


def _render(template: str, context: Context, shown: Shown, request: Request) -> HTMLResponse:
    kept = request.app.state.kept_counts
    view = make_view(context, kept, consumers_of(request), rules_of(request), shown)
    return render(request, template, Section.OVERVIEW, view=view, origin=origin_of(request))
