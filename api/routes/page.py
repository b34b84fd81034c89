"""The page, the part of it that renews itself, and what people are told whose connection was blocked."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import HTMLResponse

from api.dependencies import Context
from api.page.view import make_view

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


@router.get("/blocked")
def get_blocked(context: Context, request: Request) -> HTMLResponse:
    """Return what a person is told whose connection was refused; it says nothing of anybody."""
    sanctioned = [row for row in context.policy_status().sanctioned if row.is_active]
    text = request.app.state.templates.render("blocked.html", sanctioned=sanctioned)
    return HTMLResponse(text, headers=NO_STORE)


def _render(template: str, context: Context, request: Request) -> HTMLResponse:
    origin = f"http://{request.headers['host']}"
    view = make_view(context, request.app.state.kept_chart)
    text = request.app.state.templates.render(template, view=view, origin=origin)
    return HTMLResponse(text, headers=NO_STORE)
