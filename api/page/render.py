"""A template as a response, with what every page shows: where it is, and the address it was asked at."""

from enum import StrEnum
from urllib.parse import parse_qsl, urlencode

from starlette.requests import Request
from starlette.responses import HTMLResponse

from api.access.principal import principal_of
from api.access.sessions import COOKIE, csrf_of
from api.access.table import TABLE

NO_STORE = {"Cache-Control": "no-store"}


class Section(StrEnum):
    """The sections of the page, as the navigation names them."""

    OVERVIEW = "/"
    FINDINGS = "/findings"
    EVENTS = "/events"
    SERVICES = "/services"
    LISTS = "/lists"
    SENSORS = "/sensors"
    POLICY = "/policy"
    OUTPUTS = "/outputs"
    TOKENS = "/tokens"
    AUDIT = "/audit"


def render(
    request: Request, template: str, section: Section | None, status: int = 200, **values: object
) -> HTMLResponse:
    """Return the page, of no section when that is None.

    Templates know `here`, the address that shows it again, who asks (`principal`) and what that one `may` call.
    """
    here = f"{request.url.path}?{request.url.query}" if request.url.query else request.url.path
    context = request.app.state.context
    principal = principal_of(request)
    common = {
        "section": section,
        "here": here,
        "now_ns": context.now_ns(),
        "catalogue": context.catalogue_status(),
        "principal": principal,
        "csrf": csrf_of(request.cookies[COOKIE]) if principal.session else "",
        "may": lambda method, path: principal.may(TABLE[method, path]),
    }
    text: str = request.app.state.templates.render(template, **common, **values)
    return HTMLResponse(text, status, headers=NO_STORE)


def origin_of(request: Request) -> str:
    """Return scheme and host that the reader used, for addresses to copy."""
    return f"{request.url.scheme}://{request.headers['host']}"


def asked(request: Request) -> dict[str, str]:
    """Return the query's parameters without those a form left empty; of several of one name the last."""
    return {name: value for name, value in parse_qsl(request.url.query) if value.strip()}


def with_query(path: str, **values: str | None) -> str:
    """Return `path` with those values that there are as its query."""
    given = {name: value for name, value in values.items() if value}
    return f"{path}?{urlencode(given)}" if given else path
