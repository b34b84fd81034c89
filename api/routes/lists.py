"""Block lists as people look at them: what is in force, why an entry is there, what changed, and what is held."""

from typing import Annotated

from fastapi import APIRouter, Path, Query
from starlette.requests import Request
from starlette.responses import Response

from api.access.audit import audit, begin_act
from api.access.principal import principal_of
from api.dependencies import Context
from api.documents import json_response
from api.feeds.listed import body_of, changes, entry_page, list_document, profile_document
from api.openapi import problems
from api.problems import Kind, Problem
from api.requests.parameters import ConfirmBody, DiffQuery, EntryQuery, ProfileQuery
from api.schemas.lists import DiffDocument, EntryPage, ListDocument, ListList, SnapshotList
from rules.lists.blocklist import ListName
from rules.values.event import rfc3339

router = APIRouter(tags=["lists"])
Name = Annotated[ListName, Path(description="The list")]
InProfile = Annotated[ProfileQuery, Query()]


@router.get("/v1/lists", response_model=ListList, responses=problems(503))
def list_lists(context: Context) -> Response:
    """Every list: its serial in force, what it leaves out, and the newer state that a guard refused, if any."""
    profiles = context.profiles()
    in_use = [profile.name for profile, is_in_use in profiles if is_in_use]
    items = [list_document(context, name, profile) for profile in in_use for name in ListName]
    return json_response({"items": items, "profiles": [profile_document(*row) for row in profiles]})


@router.get("/v1/lists/{list_name}", response_model=ListDocument, responses=problems(404, 422, 503))
def get_list(list_name: Name, query: InProfile, context: Context) -> Response:
    """One list."""
    return json_response(list_document(context, list_name, query.profile))


@router.get("/v1/lists/{list_name}/entries", response_model=EntryPage, responses=problems(404, 422, 503))
def list_entries(list_name: Name, query: Annotated[EntryQuery, Query()], context: Context) -> Response:
    """The entries in force or of an earlier snapshot, in order: service, source, reason and since when each is listed.

    `next` is the `after` of the next page. A name list is shown as formats with exemptions have it; `allowed` exempts.
    """
    page, more = entry_page(body_of(context, list_name, query.profile, query.serial), query)
    return json_response({"items": page, "next": more})


@router.get("/v1/lists/{list_name}/snapshots", response_model=SnapshotList, responses=problems(404, 422, 503))
def list_snapshots(list_name: Name, query: InProfile, context: Context) -> Response:
    """The states of a list that are kept, newest first."""
    rows = context.store.snapshots(list_name, query.profile)
    items = [{"serial": row.serial, "created_at": rfc3339(row.created_at_ns), "digest": row.digest} for row in rows]
    return json_response({"items": items})


@router.get("/v1/lists/{list_name}/diff", response_model=DiffDocument, responses=problems(404, 422, 503))
def get_diff(list_name: Name, query: Annotated[DiffQuery, Query()], context: Context) -> Response:
    """What the snapshot `to` (the one in force unless given) has more and less than the snapshot `from`."""
    serials = (query.from_serial, query.to_serial)
    before, after = (body_of(context, list_name, query.profile, serial) for serial in serials)
    return json_response(changes(before, after))


@router.post(
    "/v1/lists/{list_name}/confirm", status_code=202, response_model=ListDocument, responses=problems(409, 422, 503)
)
def confirm_list(list_name: Name, query: InProfile, body: ConfirmBody, context: Context, request: Request) -> Response:
    """Publish the held state with this digest although it is far from the one in force."""
    in_force, target = context.snapshot(list_name, query.profile), f"{list_name}/{query.profile}"
    audit(request, "list.publish", target, before=in_force and in_force.digest, after=body.digest)
    begin_act(request, principal_of(request), "list.publish", target, is_noted=True)
    if not context.confirm_list(list_name, body.digest, query.profile):
        detail = "Nothing with this digest is held that could be confirmed: look at `held` in /v1/lists."
        raise Problem(Kind.CONFLICT, detail)
    return json_response(list_document(context, list_name, query.profile), status=202)
