"""Findings: the list that a filter lets through, and one with its story and what can be done about it."""

from typing import Annotated

from fastapi import APIRouter, Path
from starlette.requests import Request
from starlette.responses import HTMLResponse

from api.caller import Who
from api.dependencies import Context
from api.page.filters import FINDING_CHOICES, read_query
from api.page.findings import finding_rows, make_story
from api.page.names import short_names
from api.page.render import Section, render
from api.page.searches import make_searches
from api.problems import Kind, Problem
from api.requests.parameters import FindingQuery
from api.routes.findings import findings_page
from api.veil import Shown
from db.workflow.values import SearchedResource

router = APIRouter()


@router.get("/findings")
def get_findings(context: Context, shown: Shown, who: Who, request: Request) -> HTMLResponse:
    """Return the findings that the query in the address asks for."""
    query, refused = read_query(FindingQuery, request)
    page = findings_page(context, shown, query)
    names = short_names(context)
    return render(
        request,
        "findings.html",
        Section.FINDINGS,
        status=422 if refused else 200,
        page=page,
        rows=finding_rows(context, page.rows, names, shown),
        query=query,
        refused=refused,
        searches=make_searches(context, SearchedResource.FINDINGS, request, who),
        choices=FINDING_CHOICES,
        names=names,
        next_page=page.address_of_next(request.url),
    )


@router.get("/findings/{finding_id}")
def get_finding(
    finding_id: Annotated[str, Path(max_length=64)], context: Context, shown: Shown, request: Request
) -> HTMLResponse:
    """Return one finding: what happened, how that is known, what else this source did, and what to do."""
    finding = context.store.finding(shown.real_id(finding_id))
    if finding is None:
        raise Problem(Kind.NOT_FOUND, "No finding has this id; /findings lists those there are.")
    return render(request, "finding.html", Section.FINDINGS, story=make_story(context, finding, shown))
