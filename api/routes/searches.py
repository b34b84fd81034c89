"""Saved searches: filters of events and findings with a name."""

from typing import Annotated

from fastapi import APIRouter, Path
from starlette.responses import Response

from api.caller import Who
from api.dependencies import Context
from api.documents import document, json_response
from api.openapi import problems
from api.problems import Kind, Problem
from api.requests.bodies import SearchBody
from api.schemas.workflow import SearchDocument, SearchList
from db.workflow.searches import MAX_SEARCHES
from db.workflow.values import SavedSearch
from rules.values.event import uuid7

router = APIRouter(tags=["searches"])
SearchId = Annotated[str, Path(max_length=64)]
NO_SEARCH = "No search of yours has this id; /v1/searches lists them."
FULL = f"There is room for {MAX_SEARCHES} searches of yours: remove some first."


@router.get("/v1/searches", response_model=SearchList, responses=problems(503))
def list_searches(context: Context, who: Who) -> Response:
    """The caller's searches and those that others share, by name."""
    return json_response({"items": list(map(document, context.store.searches.searches(who.name)))})


@router.post("/v1/searches", status_code=201, response_model=SearchDocument, responses=problems(409, 422, 503))
def save_search(body: SearchBody, context: Context, who: Who) -> Response:
    """Give a filter a name."""
    made = _search(uuid7(context.now_ns()), body, who.name, context.now_ns())
    if not context.store.searches.add_search(made):
        raise Problem(Kind.CONFLICT, FULL)
    return json_response(document(made), 201, {"Location": f"/v1/searches/{made.search_id}"})


@router.get("/v1/searches/{search_id}", response_model=SearchDocument, responses=problems(404, 422, 503))
def get_search(search_id: SearchId, context: Context, who: Who) -> Response:
    """One search, the caller's or one that is shared."""
    found = context.store.searches.search(search_id, who.name)
    if found is None:
        raise Problem(Kind.NOT_FOUND, NO_SEARCH)
    return json_response(document(found))


@router.put("/v1/searches/{search_id}", response_model=SearchDocument, responses=problems(404, 422, 503))
def replace_search(search_id: SearchId, body: SearchBody, context: Context, who: Who) -> Response:
    """Replace one of the caller's own searches."""
    wanted = _search(search_id, body, who.name, context.now_ns())
    if not context.store.searches.replace_search(wanted):
        raise Problem(Kind.NOT_FOUND, NO_SEARCH)
    return json_response(document(wanted))


@router.delete("/v1/searches/{search_id}", status_code=204, responses=problems(404, 422, 503))
def remove_search(search_id: SearchId, context: Context, who: Who) -> Response:
    """Remove one of the caller's own searches."""
    if not context.store.searches.remove_search(search_id, who.name):
        raise Problem(Kind.NOT_FOUND, NO_SEARCH)
    return Response(status_code=204)


def _search(search_id: str, body: SearchBody, owner: str, now_ns: int) -> SavedSearch:
    return SavedSearch(search_id=search_id, owner=owner, changed_at_ns=now_ns, **body.model_dump())
