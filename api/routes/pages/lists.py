"""Block lists: what is in force, who it is for, why an entry is there, what changed, and what is held."""

from typing import Annotated

from fastapi import APIRouter, Path
from starlette.requests import Request
from starlette.responses import HTMLResponse

from api.dependencies import Context
from api.feeds.pull_log import consumers_of
from api.page.filters import read_query
from api.page.lists import Pulls, list_cards, make_list_page
from api.page.render import Section, origin_of, render, with_query
from api.requests.parameters import EntryQuery
from rules.lists.blocklist import ListName

router = APIRouter()


@router.get("/lists")
def get_lists(context: Context, request: Request) -> HTMLResponse:
    """Return every list in every profile that is in use."""
    return render(
        request,
        "lists.html",
        Section.LISTS,
        lists=list_cards(context, _pulls(context, request)),
        origin=origin_of(request),
    )


@router.get("/lists/{list_name}")
def get_list(list_name: Annotated[ListName, Path()], context: Context, request: Request) -> HTMLResponse:
    """Return one list: entries with their reasons, kept states with what each changed, where to pull it."""
    query, refused = read_query(EntryQuery, request)
    page = make_list_page(context, list_name, query, _pulls(context, request))
    after = with_query(request.url.path, profile=query.profile, q=query.q, service=query.service, after=page.next_after)
    return render(
        request,
        "list.html",
        Section.LISTS,
        status=422 if refused else 200,
        page=page,
        query=query,
        refused=refused,
        next_page=after if page.next_after else None,
        origin=origin_of(request),
    )


def _pulls(context: Context, request: Request) -> Pulls:
    return consumers_of(request).states(context.now_ns())
