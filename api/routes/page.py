"""The page, and the part of it that renews itself."""

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


def _render(template: str, context: Context, request: Request) -> HTMLResponse:
    origin = f"http://{request.headers['host']}"
    view = make_view(context, request.app.state.kept_chart)
    text = request.app.state.templates.render(template, view=view, origin=origin)
    return HTMLResponse(text, headers=NO_STORE)
