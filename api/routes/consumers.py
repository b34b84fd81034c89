"""Consumers: which firewall pulled which list when, and which is behind."""

from typing import Annotated

from fastapi import APIRouter, Path, Query
from starlette.requests import Request
from starlette.responses import Response

from api.dependencies import Context
from api.documents import json_response
from api.feeds.pull_log import consumers_of
from api.openapi import problems
from api.requests.parameters import ConsumerQuery
from api.schemas.lists import ConsumerPage
from db.lists.values import PullRecord
from rules.lists.blocklist import ListName
from rules.values.event import rfc3339

router = APIRouter(tags=["lists"])
Wanted = Annotated[ConsumerQuery, Query()]


@router.get("/v1/consumers", response_model=ConsumerPage, responses=problems(422, 503))
def list_consumers(query: Wanted, request: Request, context: Context) -> Response:
    """Who pulled which list last, in which profile and format, and whether it still has an older state.

    The one that pulled last comes first. `behind=true` leaves only those that are behind.
    """
    return _page(query, request, context.now_ns(), None)


@router.get("/v1/lists/{list_name}/consumers", response_model=ConsumerPage, responses=problems(404, 422, 503))
def list_list_consumers(
    list_name: Annotated[ListName, Path(description="The list")], query: Wanted, request: Request, context: Context
) -> Response:
    """The same of one list."""
    return _page(query, request, context.now_ns(), list_name)


def _page(query: ConsumerQuery, request: Request, now_ns: int, list_name: ListName | None) -> Response:
    found = [
        (record, in_force, is_behind)
        for record, in_force, is_behind in consumers_of(request).states(now_ns)
        if list_name in (None, record.list_name)
        and query.profile in (None, record.profile)
        and query.behind in (None, is_behind)
    ]
    page = found[query.offset : query.offset + query.limit]
    following = query.offset + query.limit
    return json_response(
        {
            "items": [_document(*row) for row in page],
            "total": len(found),
            "behind": sum(is_behind for _record, _in_force, is_behind in found),
            "next": following if following < len(found) else None,
        }
    )


def _document(record: PullRecord, in_force: int, is_behind: bool) -> dict[str, object]:
    return {
        "consumer": record.consumer or None,
        "token_id": record.token_id or None,
        "address": record.address,
        "user_agent": record.user_agent,
        "list_name": record.list_name,
        "profile": record.profile,
        "format": record.format,
        "serial": record.serial or None,
        "serial_in_force": in_force or None,
        "is_behind": is_behind,
        "last_status": record.status,
        "first_pull": rfc3339(record.first_pull_ns),
        "last_pull": rfc3339(record.last_pull_ns),
        "last_change": rfc3339(record.changed_ns) if record.changed_ns else None,
        "pulls": record.pulls,
        "failures": record.failures,
    }
