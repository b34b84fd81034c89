"""Tokens of machines, and the audit log."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import HTMLResponse

from api.dependencies import Context
from api.page.filters import read_query
from api.page.render import Section, render
from api.routes.audit import AuditQuery, audit_page
from db.access.values import TokenScope
from rules.lists.blocklist import ListName

router = APIRouter()


@router.get("/tokens")
def get_tokens(context: Context, request: Request) -> HTMLResponse:
    """Return every token, without its secret, and a form to make one."""
    profiles = [profile.name for profile, _is_in_use in context.profiles()]
    return render(
        request,
        "tokens.html",
        Section.TOKENS,
        tokens=context.store.tokens(),
        scopes=tuple(TokenScope),
        lists=tuple(ListName),
        profiles=profiles,
    )


@router.get("/audit")
def get_audit(context: Context, request: Request) -> HTMLResponse:
    """Return the entries of the audit log that the query in the address asks for."""
    query, refused = read_query(AuditQuery, request)
    page = audit_page(context, query)
    next_page = page.address_of_next(request.url)
    status = 422 if refused else 200
    return render(
        request, "audit.html", Section.AUDIT, status, page=page, query=query, refused=refused, next_page=next_page
    )
