"""A MISP feed: the directory that MISP pulls, with a manifest, an event for each list, and the hashes of all values."""

from http import HTTPStatus
from typing import Annotated

import msgspec
from fastapi import APIRouter, Path
from starlette.requests import Request
from starlette.responses import Response

from api.access.gate import holder_of, is_open_to, profile_of, require_feed
from api.context import ApiContext
from api.dependencies import Context
from api.errors import UnrenderableSnapshot
from api.feeds.formats import misp
from api.feeds.formats.base import FeedFormat
from api.feeds.pull_log import Pulled, note_pull
from api.openapi import problems
from api.problems import Kind, Problem
from rules.lists.blocklist import ListName, Snapshot

RETRY = {"Retry-After": "30"}
ERRORS = problems(401, 403, 404, 422, 503)
_LISTS = {event_id: name for name, event_id in misp.EVENT_IDS.items()}

router = APIRouter(tags=["feeds"])
EventId = Annotated[str, Path(max_length=36, examples=list(_LISTS), description="An event of the manifest")]


@router.get("/misp/manifest.json", response_class=Response, responses=ERRORS)
def get_manifest(request: Request, context: Context) -> Response:
    """The events that there are; a list that is empty, or was not built yet, has none."""
    found = {misp.EVENT_IDS[it.list_name]: misp.describe(it) for it in _published(request, context)}
    return Response(msgspec.json.encode(found), media_type="application/json")


@router.get("/misp/hashes.csv", response_class=Response, responses=ERRORS)
def get_hashes(request: Request, context: Context) -> Response:
    """The MD5 of every value, with its event."""
    try:
        lines = [line for snapshot in _published(request, context) for line in misp.hash_lines(snapshot)]
    except UnrenderableSnapshot as error:
        raise Problem(Kind.UNRENDERABLE_LIST, f"Keep what you have: {error}.", RETRY) from error
    return Response("".join(f"{line}\n" for line in lines), media_type="text/csv")


@router.get("/misp/{event_id}.json", response_class=Response, responses=ERRORS)
def get_misp_event(event_id: EventId, request: Request, context: Context) -> Response:
    """A list as an event."""
    name = _LISTS.get(event_id)
    token = holder_of(request)
    if name is None:
        raise Problem(Kind.NOT_FOUND, "The manifest names the events that there are.")
    profile = profile_of(request, token)
    require_feed(token, name, profile)
    if name not in {it.list_name for it in _published(request, context)}:
        raise Problem(Kind.NO_SNAPSHOT, "Keep what you have: this list is empty, or was not built yet.", RETRY)
    try:
        edition = request.app.state.publication.edition(name, FeedFormat.MISP, profile, comments=False)
    except UnrenderableSnapshot as error:
        raise Problem(Kind.UNRENDERABLE_LIST, f"Keep what you have: {error}.", RETRY) from error
    note_pull(request, token, Pulled(name, profile, "misp"), edition.serial, HTTPStatus.OK)
    return Response(edition.plain.body, media_type=edition.media_type)


def _published(request: Request, context: ApiContext) -> list[Snapshot]:
    """Return the snapshots that have entries, of the lists that are open to whoever asks.

    Raises:
        Problem: there are none: a manifest without events would have readers think that all is well.
    """
    token = holder_of(request)
    profile = profile_of(request, token)
    current = [context.snapshot(name, profile) for name in ListName if is_open_to(token, name, profile)]
    found = [snapshot for snapshot in current if snapshot is not None and snapshot.body.blocked]
    if not found:
        raise Problem(Kind.NO_SNAPSHOT, "Keep what you have and ask again soon: no list has been built.", RETRY)
    return found
