"""Feeds: block lists as firewalls pull them. A firewall is handed the whole list, or an error and keeps what it has."""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from api.access.gate import authorize, holder_of, profile_of, require_feed
from api.errors import UnrenderableSnapshot
from api.feeds import FORMATS, FeedFormat
from api.feeds.conditions import accepts_gzip, is_unchanged
from api.feeds.publication import CHECKSUMS, Edition, Publication
from api.feeds.pull_log import Pulled, note_pull
from api.feeds.registry import REGISTRY
from api.feeds.whole_body import WholeBody
from api.openapi import problems
from api.problems import Kind, Problem
from api.requests.parameters import FeedQuery, ProfileName
from api.serving.streaming import HEADERS_ONLY
from db.access.values import Token
from rules.lists.blocklist import ListName
from rules.policy.profiles import DEFAULT_PROFILE

RETRY_AFTER_S = 30
MEDIA_TYPE = "text/plain; charset=utf-8"
OTHER_TYPES = {feed.media_type for feed in REGISTRY} - {MEDIA_TYPE}
EXAMPLE = "# Molecatcher unsanctioned-domains\nconnect.ngrok-agent.com\n*.connect.ngrok-agent.com\n"
FEED_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The whole list",
        "content": {
            MEDIA_TYPE: {"schema": {"type": "string"}, "example": EXAMPLE},
            **{media_type: {} for media_type in sorted(OTHER_TYPES)},
        },
    },
    304: {"description": "The list is the one that If-None-Match or If-Modified-Since names"},
}

NO_QUERY = FeedQuery.model_validate({})


class FeedRoute(APIRoute):
    """A route that takes a request without a query to its handler once it may pass, the parts of its path unchecked.

    FastAPI reads and checks parameters one by one, which costs as much as all the rest of an unchanged pull.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return what answers a request."""
        checked, handler = super().get_route_handler(), self.endpoint

        async def answer(request: Request) -> Response:
            if request.scope["query_string"]:
                return await checked(request)
            await authorize(request)
            response: Response = await handler(request=request, query=NO_QUERY, **request.path_params)
            return response

        return answer


router = APIRouter(tags=["feeds"], route_class=FeedRoute)


@dataclass(frozen=True, slots=True)
class Feed:
    """A list in one format, as a file name says it."""

    list_name: ListName
    feed_format: FeedFormat

    @property
    def file_name(self) -> str:
        """Return the last segment of the feed's path."""
        return f"{self.list_name}.{self.feed_format}"


FEEDS = {feed.file_name: feed for name, formats in FORMATS.items() for feed in (Feed(name, it) for it in formats)}


FILE_NAMES = f"One of {', '.join(FEEDS)}; with .md5 or .sha256 after it, the checksum of that file"
FileName = Annotated[str, Path(max_length=100, examples=list(FEEDS), description=FILE_NAMES)]
ANSWERS = FEED_RESPONSES | problems(401, 403, 404, 422, 503)


@router.get("/feeds/{file_name}", response_class=Response, responses=ANSWERS)
async def get_feed(file_name: FileName, query: Annotated[FeedQuery, Query()], request: Request) -> Response:
    """A block list. Ask again with the entity tag of the last answer: 304 means that nothing changed."""
    return await _respond(request, file_name, query)


@router.get("/feeds/p/{profile}/{file_name}", response_class=Response, responses=ANSWERS)
async def get_feed_in_profile(
    profile: Annotated[ProfileName, Path(description="Which services and roles")],
    file_name: FileName,
    query: Annotated[FeedQuery, Query()],
    request: Request,
) -> Response:
    """The same in a profile, for devices that take no query."""
    return await _respond(request, file_name, query.model_copy(update={"profile": profile}))


@router.get("/feeds/t/{token}/{file_name}", response_class=Response, responses=ANSWERS)
async def get_feed_by_path(
    token: Annotated[str, Path(max_length=100, description="For devices that can send no credential")],  # noqa: ARG001
    file_name: FileName,
    query: Annotated[FeedQuery, Query()],
    request: Request,
) -> Response:
    """The same with the token in the path."""
    return await _respond(request, file_name, query)


async def _respond(request: Request, file_name: str, query: FeedQuery) -> Response:
    """Answer from memory at once where that is possible: a change of threads costs as much as all the rest."""
    if _is_in_memory(request, file_name, query):
        return _answer(request, file_name, query)
    return await run_in_threadpool(_answer, request, file_name, query)


def _is_in_memory(request: Request, file_name: str, query: FeedQuery) -> bool:
    """Tell whether neither the database nor a renderer is needed to answer."""
    state, feed, token = request.app.state, FEEDS.get(file_name), holder_of(request)
    if feed is None or query.empty:
        return False
    profile = query.profile or (token.profile if token else None) or DEFAULT_PROFILE
    comments = bool(query.comments)
    return bool(state.publication.has(feed.list_name, feed.feed_format, profile, comments=comments))


def _answer(request: Request, file_name: str, query: FeedQuery) -> Response:
    token = holder_of(request)
    feed_name, checksum = _checksum_of(file_name)
    feed = FEEDS.get(feed_name)
    if feed is None:
        raise Problem(Kind.NOT_FOUND, f"The lists are {', '.join(FEEDS)}.")
    profile = profile_of(request, token, query.profile)
    if checksum or request.scope.get(HEADERS_ONLY):  # neither hands out a list
        return _serve(request, feed, token, profile, query, checksum)[0]
    pulled = Pulled(feed.list_name, profile, feed.feed_format)
    try:
        response, serial = _serve(request, feed, token, profile, query)
    except Problem as problem:
        note_pull(request, token, pulled, None, problem.kind.status)
        raise
    note_pull(request, token, pulled, serial, response.status_code)
    return response


def _serve(  # noqa: PLR0917 - what an answer depends on
    request: Request, feed: Feed, token: Token | None, profile: str, query: FeedQuery, checksum: str = ""
) -> tuple[Response, int]:
    """Return the answer and the serial that it is of."""
    require_feed(token, feed.list_name, profile)
    edition = _edition(request.app.state.publication, feed, profile, query)
    chosen = edition.gzipped if accepts_gzip(request.headers.get("accept-encoding", "")) else edition.plain
    if checksum:
        chosen = edition.checksums[checksum]
    headers = edition.headers | {"ETag": chosen.etag}
    if is_unchanged(request.headers, chosen.etag, edition.created_at_s):
        return Response(status_code=304, headers=headers), edition.serial
    encoding = {"Content-Encoding": "gzip"} if chosen is edition.gzipped else {}
    media_type = MEDIA_TYPE if checksum else edition.media_type
    return WholeBody(chosen.body, 200, headers | encoding, media_type), edition.serial


def _checksum_of(file_name: str) -> tuple[str, str]:
    """Return the feed's file name and, if the name is of its checksum, the kind."""
    stem, _, last = file_name.rpartition(".")
    return (stem, last) if last in CHECKSUMS else (file_name, "")


def _edition(publication: Publication, feed: Feed, profile: str, query: FeedQuery) -> Edition:
    retry = {"Retry-After": str(RETRY_AFTER_S)}
    try:
        edition = publication.edition(
            feed.list_name,
            feed.feed_format,
            profile,
            comments=bool(query.comments),
            sentinel=query.empty == "sentinel",
        )
    except UnrenderableSnapshot as error:
        raise Problem(Kind.UNRENDERABLE_LIST, f"Keep the list you have: {error}.", retry) from error
    if edition is None:
        raise Problem(Kind.NO_SNAPSHOT, "Keep the list you have and ask again soon: this one is being built.", retry)
    if not edition.count and not query.empty:
        detail = "Nothing is to be blocked. Add ?empty=comment for a list of no entries, or ?empty=sentinel."
        raise Problem(Kind.EMPTY_LIST, detail, {"X-Feed-Serial": str(edition.serial)})
    return edition
