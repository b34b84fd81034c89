"""Events counted, exported whole, and as they come."""

import time
from collections.abc import AsyncIterator, Iterator
from typing import Annotated

import msgspec
from fastapi import APIRouter, Header, Query
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from api.access.gate import is_still_known
from api.context import ApiContext
from api.dependencies import Context, Tail
from api.documents import json_response
from api.exports import EXPORTS, ExportFormat
from api.openapi import problems
from api.problems import Kind, Problem
from api.requests.parameters import AggregateQuery, EventFilterQuery, ExportQuery
from api.schemas.events import AggregateDocument
from api.serving.streaming import EndlessResponse, is_headers_only, pieces_of, stopping
from api.tail import Wanted
from api.times import DAY_NS
from api.veil import Shown, Veil
from db.values import EventCursor, EventFilter
from rules.values.event import rfc3339

MAX_INTERVALS = 2000
KNOWN_S = 10.0  # so long a stream goes on whose token or session has ended, and until its next frame
EXPORT_PAGE = 500
STREAM_EXAMPLE = 'event: event\nid: 42\ndata: {"event_id": "019ab1f0-8c00-7000-8000-00000000002a"}\n\n'
NO_STORE = {"Cache-Control": "no-store"}

router = APIRouter(tags=["events"])


@router.get("/v1/events/aggregate", response_model=AggregateDocument, responses=problems(422, 503))
def count_events(query: Annotated[AggregateQuery, Query()], context: Context, shown: Shown) -> Response:
    """Events counted by what they have in common; those of the last 24 hours unless `from` or `to` is given."""
    wanted, how = _windowed(query.to_filter(), context), query.to_aggregation()
    if how.interval_ns:
        span_ns = (wanted.to_ns or context.now_ns()) - (wanted.from_ns or 0)
        if span_ns > MAX_INTERVALS * how.interval_ns:
            detail = f"interval: the window would have more than {MAX_INTERVALS} of them; take a longer interval"
            raise Problem(Kind.INVALID_PARAMETER, detail)
    groups = context.store.aggregate(shown.events(wanted), how, query.limit + 1)
    return json_response(
        {
            "counted_from": _time(wanted.from_ns),
            "counted_to": _time(wanted.to_ns),
            "metric": how.metric,
            "groups": [
                {
                    "start": _time(group.start_ns),
                    "values": {by: shown.group(by, value) for by, value in zip(how.by, group.values, strict=True)},
                    "value": group.value,
                }
                for group in groups[: query.limit]
            ],
            "is_truncated": len(groups) > query.limit,
        }
    )


@router.get(
    "/v1/events/export",
    response_class=Response,
    responses=problems(422, 503)
    | {200: {"content": {export.media_type.split(";")[0]: {} for export in EXPORTS.values()}}},
)
def export_events(query: Annotated[ExportQuery, Query()], context: Context, shown: Shown, request: Request) -> Response:
    """All events of a filter, newest first, in one answer; those of the last 24 hours unless `from` or `to` is given.

    What is stored while the answer runs is not in it. An answer that breaks off was not complete.
    """
    export = EXPORTS[query.format]
    headers = NO_STORE | {"Content-Disposition": f'attachment; filename="events.{export.extension}"'}
    if is_headers_only(request):
        return Response(headers=headers, media_type=export.media_type)
    wanted = _windowed(query.to_filter(), context)
    wanted = msgspec.structs.replace(wanted, to_ns=wanted.to_ns or context.now_ns() + 1)
    lines = _export(context, shown.events(wanted), query.format, shown)
    return StreamingResponse(lines, headers=headers, media_type=export.media_type)


@router.get(
    "/v1/events/stream",
    response_class=Response,
    responses=problems(422, 503)
    | {200: {"content": {"text/event-stream": {"schema": {"type": "string"}, "example": STREAM_EXAMPLE}}}},
)
async def stream_events(
    query: Annotated[EventFilterQuery, Query()],
    tail: Tail,
    shown: Shown,
    request: Request,
    last_event_id: Annotated[str | None, Header(max_length=20, pattern="^[0-9]+$")] = None,
) -> Response:
    """Events as they are stored (server-sent events), each revision of one anew; `id` is its place.

    `Last-Event-ID`, which browsers send by themselves, resumes without gaps or doubles; so does a client that was cut
    off because it took nothing for a minute. A place that does not exist
    (the database was replaced) is answered with an event `reset`: fetch the list again. It ends within half a minute of
    its token or session.
    """
    media_type, headers = "text/event-stream", NO_STORE | {"X-Accel-Buffering": "no"}
    if is_headers_only(request):
        return Response(headers=headers, media_type=media_type)
    newest = await tail.newest()
    after = int(last_event_id) if last_event_id else newest
    wanted = Wanted(shown.events(query.to_filter()), shown)
    frames = _stream(tail, wanted, min(after, newest), request)
    first = await anext(frames)  # a place is taken, or refused, before the answer begins
    if after > newest:
        first += b"event: reset\ndata: {}\n\n"
    return EndlessResponse(_chain(first, frames), tail.on_stall, headers=headers, media_type=media_type)


def _windowed(asked: EventFilter, context: ApiContext) -> EventFilter:
    if asked.from_ns is not None or asked.to_ns is not None:
        return asked
    return msgspec.structs.replace(asked, from_ns=context.now_ns() - DAY_NS)


def _time(at_ns: int | None) -> str | None:
    return None if at_ns is None else rfc3339(at_ns)


def _export(context: ApiContext, wanted: EventFilter, name: ExportFormat, shown: Veil) -> Iterator[bytes]:
    """Yield the export, a page at a time: memory stays that of one page."""
    export = EXPORTS[name]
    if export.header:
        yield export.header
    after: EventCursor | None = None
    while page := context.store.events(wanted, EXPORT_PAGE, after):
        yield b"".join(export.write(shown.event(event), context.version) for event in page)
        after = EventCursor.of(page[-1])


async def _stream(tail: Tail, wanted: Wanted, after: int, request: Request) -> AsyncIterator[bytes]:
    with tail.place():
        yield b": events after %d\nid: %d\n\n" % (after, after)
        asked_at_s = time.monotonic()
        async for frames in tail.follow(after, wanted, stopping(request)):
            if time.monotonic() - asked_at_s >= KNOWN_S:
                if not await is_still_known(request):
                    return
                asked_at_s = time.monotonic()
            yield frames


async def _chain(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for frames in rest:
        for piece in pieces_of(frames):
            yield piece
