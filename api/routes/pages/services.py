"""Services: what the organisation decided about each, and who used it lately."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import HTMLResponse

from api.dependencies import Context
from api.page.render import Section, render
from api.page.services import make_services

router = APIRouter()


@router.get("/services")
def get_services(context: Context, request: Request) -> HTMLResponse:
    """Return every service, those that were seen first."""
    return render(request, "services.html", Section.SERVICES, view=make_services(context))
