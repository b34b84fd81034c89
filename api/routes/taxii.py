"""TAXII 2.1 (OASIS, sections 4 and 5): each list is a collection of STIX indicators that can be read.

A collection holds what is listed now. An entry that is taken off is gone from it, without a revoked version: readers
that keep indicators should compare with the manifest.
"""

import re
from functools import partial
from http import HTTPStatus
from typing import Annotated

import msgspec
from fastapi import APIRouter, Path, Query
from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from api.access.gate import holder_of, is_open_to, profile_of, require_feed
from api.errors import UnrenderableSnapshot
from api.feeds.collections import COLLECTION_IDS, Collection, Member
from api.feeds.formats import stix
from api.feeds.pull_log import Pulled, note_pull
from api.openapi import problems
from api.problems import Kind, Problem
from api.requests.parameters import Time
from rules.lists.blocklist import ListName
from rules.values.event import rfc3339

MEDIA_TYPE = "application/taxii+json;version=2.1"
ROOT = "/taxii2/lists/"
MAX_LIMIT = 1_000
LIMIT = f"Objects at most; of more than {MAX_LIMIT} a page has {MAX_LIMIT}"
RETRY = {"Retry-After": "30"}
_ACCEPTED = re.compile(r"\*/\*|application/\*|application/(?:taxii|stix)\+json(?:;version=2\.1)?")
_LISTS = {collection_id: name for name, collection_id in COLLECTION_IDS.items()}

router = APIRouter(tags=["taxii"])
CollectionId = Annotated[str, Path(max_length=36, examples=list(_LISTS), description="A collection's id")]
ObjectId = Annotated[str, Path(max_length=80, description="An indicator's id")]
ERRORS = problems(401, 403, 404, 406, 422, 503)


class ObjectQuery(BaseModel):
    """The parameters of objects and manifest; filters on `match[...]` may be sent and must be ones that hold here."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    added_after_ns: Time = Field(0, alias="added_after", description="RFC 3339; only what was listed later")
    limit: Annotated[int, Field(ge=1, description=LIMIT), AfterValidator(partial(min, MAX_LIMIT))] = MAX_LIMIT
    next: Annotated[str, Field(max_length=80, pattern=r"^\d{1,19}_indicator--[0-9a-f-]{36}$")] | None = Field(
        None, description="`next` of the page before"
    )
    ids: str | None = Field(None, alias="match[id]", max_length=4000, description="Ids, divided by commas")
    types: str | None = Field(None, alias="match[type]", max_length=200, description="Types, divided by commas")
    versions: str | None = Field(None, alias="match[version]", max_length=200, description="There is one")
    specs: str | None = Field(None, alias="match[spec_version]", max_length=50, description="2.1")

    def excludes_indicators(self) -> bool:
        """Tell whether a filter leaves nothing of a collection of STIX 2.1 indicators."""
        wrong_type = self.types is not None and "indicator" not in self.types.split(",")
        return wrong_type or (self.specs is not None and "2.1" not in self.specs.split(","))


Filter = Annotated[ObjectQuery, Query()]


@router.get("/taxii2/", response_class=Response, responses=ERRORS)
def discover(request: Request) -> Response:
    """Where the collections are."""
    root = f"{str(request.base_url).rstrip('/')}{ROOT}"
    return _answer(request, {"title": "Molecatcher", "default": root, "api_roots": [root]})


@router.get(ROOT, response_class=Response, responses=ERRORS)
def get_root(request: Request) -> Response:
    """What the API root speaks."""
    return _answer(
        request, {"title": "Molecatcher's block lists", "versions": [MEDIA_TYPE], "max_content_length": 65_536}
    )


@router.get(f"{ROOT}collections/", response_class=Response, responses=ERRORS)
def list_collections(request: Request) -> Response:
    """The lists as collections."""
    token = holder_of(request)
    profile = profile_of(request, token)
    return _answer(request, {"collections": [_describe(name, is_open_to(token, name, profile)) for name in ListName]})


@router.get(ROOT + "collections/{collection_id}/", response_class=Response, responses=ERRORS)
def get_collection(collection_id: CollectionId, request: Request) -> Response:
    """One collection."""
    name = _list_of(collection_id)
    token = holder_of(request)
    return _answer(request, _describe(name, is_open_to(token, name, profile_of(request, token))))


@router.get(ROOT + "collections/{collection_id}/objects/", response_class=Response, responses=ERRORS)
def list_objects(collection_id: CollectionId, query: Filter, request: Request) -> Response:
    """Indicators in the order in which they were listed."""
    collection = _collection(request, collection_id)
    _note(request, collection)
    members, more = _select(collection, query)
    return _page(request, members, more, [stix.indicator(row.entry, collection.snapshot) for row in members])


@router.get(ROOT + "collections/{collection_id}/manifest/", response_class=Response, responses=ERRORS)
def list_manifest(collection_id: CollectionId, query: Filter, request: Request) -> Response:
    """The ids of indicators, and when each was listed."""
    members, more = _select(_collection(request, collection_id), query)
    return _page(request, members, more, [_manifest_row(member) for member in members])


@router.get(ROOT + "collections/{collection_id}/objects/{object_id}/", response_class=Response, responses=ERRORS)
def get_object(collection_id: CollectionId, object_id: ObjectId, request: Request) -> Response:
    """One indicator."""
    collection = _collection(request, collection_id)
    member = _member(collection, object_id)
    return _page(request, (member,), None, [stix.indicator(member.entry, collection.snapshot)])


@router.get(
    ROOT + "collections/{collection_id}/objects/{object_id}/versions/", response_class=Response, responses=ERRORS
)
def list_versions(collection_id: CollectionId, object_id: ObjectId, request: Request) -> Response:
    """The versions of an indicator: one."""
    member = _member(_collection(request, collection_id), object_id)
    return _answer(request, {"versions": [rfc3339(member.added_ns)]}, _dates((member,)))


def _note(request: Request, collection: Collection) -> None:
    snapshot = collection.snapshot
    what = Pulled(snapshot.list_name, snapshot.profile, "taxii")
    note_pull(request, holder_of(request), what, snapshot.serial, HTTPStatus.OK)


def _list_of(collection_id: str) -> ListName:
    if collection_id not in _LISTS:
        raise Problem(Kind.NOT_FOUND, f"The collections are {', '.join(_LISTS)}.")
    return _LISTS[collection_id]


def _describe(name: ListName, can_read: bool) -> dict[str, object]:
    return {
        "id": COLLECTION_IDS[name],
        "title": name.value,
        "can_read": can_read,
        "can_write": False,
        "media_types": [stix.MEDIA_TYPE],
    }


def _collection(request: Request, collection_id: str) -> Collection:
    name = _list_of(collection_id)
    token = holder_of(request)
    profile = profile_of(request, token)
    require_feed(token, name, profile)
    try:
        found: Collection | None = request.app.state.collections.get(name, profile)
    except UnrenderableSnapshot as error:
        raise Problem(Kind.UNRENDERABLE_LIST, f"Keep what you have: {error}.", RETRY) from error
    if found is None:
        raise Problem(Kind.NO_SNAPSHOT, "Keep what you have and ask again soon: this list is being built.", RETRY)
    if not found.members:
        raise Problem(Kind.EMPTY_LIST, "Nothing is to be blocked.")
    return found


def _member(collection: Collection, object_id: str) -> Member:
    if object_id not in collection.by_id:
        raise Problem(Kind.NOT_FOUND, "No such indicator is listed now.")
    return collection.by_id[object_id]


def _select(collection: Collection, query: ObjectQuery) -> tuple[tuple[Member, ...], str | None]:
    """Return a page, and the cursor of the next one if there is more."""
    if query.excludes_indicators():
        return (), None
    if query.ids is not None:
        wanted = [collection.by_id[it] for it in dict.fromkeys(query.ids.split(",")) if it in collection.by_id]
        return tuple(row for row in wanted if row.added_ns > query.added_after_ns)[: query.limit], None
    after = (query.added_after_ns, "~")  # after every id
    if query.next is not None:
        added, _, last_id = query.next.partition("_")
        after = max(after, (int(added), last_id))
    members = collection.page(after, query.limit + 1)
    if len(members) <= query.limit:
        return members, None
    last = members[query.limit - 1]
    return members[: query.limit], f"{last.added_ns}_{last.id}"


def _manifest_row(member: Member) -> dict[str, object]:
    since = rfc3339(member.added_ns)
    return {"id": member.id, "date_added": since, "version": since, "media_type": stix.MEDIA_TYPE}


def _page(
    request: Request, members: tuple[Member, ...], cursor: str | None, items: list[dict[str, object]]
) -> Response:
    body: dict[str, object] = {"objects": items} if items else {}
    if cursor is not None:
        body |= {"more": True, "next": cursor}
    return _answer(request, body, _dates(members))


def _dates(members: tuple[Member, ...]) -> dict[str, str]:
    if not members:
        return {}
    return {
        "X-TAXII-Date-Added-First": rfc3339(members[0].added_ns),
        "X-TAXII-Date-Added-Last": rfc3339(members[-1].added_ns),
    }


def _answer(request: Request, body: dict[str, object], headers: dict[str, str] | None = None) -> Response:
    wanted = request.headers.get("accept", "*/*").replace(" ", "").split(",")
    if not any(_ACCEPTED.match(it) for it in wanted):
        raise Problem(Kind.NOT_ACCEPTABLE, f"This is {MEDIA_TYPE}: ask for it with Accept.")
    return Response(msgspec.json.encode(body), 200, headers, MEDIA_TYPE)
