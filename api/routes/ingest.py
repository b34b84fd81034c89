"""What sensors on other hosts send: batches of events, and how they do. A batch may be sent again."""

import uuid
from typing import Annotated

import msgspec
from fastapi import APIRouter, Path
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from api.access.principal import principal_of
from api.context import ApiContext
from api.dependencies import Context
from api.documents import json_response
from api.openapi import problems
from api.problems import Kind, Problem
from api.schemas.access import BatchDocument
from rules.values.event import Event
from rules.values.sensor_status import SensorStatus
from rules.values.verdict import Outcome

MAX_EVENTS = 5_000
MAX_EVENT_OCTETS = 128 * 1024
MAX_EVIDENCE_OCTETS = 32 * 1024
AT_ONCE = 4  # batches that are written; who comes then waits with its own spool
NDJSON = "application/x-ndjson"
BODY = {"requestBody": {"required": True, "content": {NDJSON: {"schema": {"type": "string"}}}}}
ANSWERS = problems(413, 422, 503)

router = APIRouter(tags=["sensors"])


@router.post("/v1/events:batch", status_code=202, response_model=BatchDocument, responses=ANSWERS, openapi_extra=BODY)
async def take_events(request: Request, context: Context) -> Response:
    """Take up to 5,000 events in up to 5 MB, one JSON object a line or one array; each is committed when this answers.

    Events are known by `event_id` and the higher `revision` wins, so a batch may be sent again. One that cannot be
    kept is named in `rejected` and does not hinder the others. A sensor's token writes events of that sensor only.
    """
    rows = _split(await request.body())
    places = request.app.state.batches
    if not places.acquire(blocking=False):
        raise Problem(Kind.BUSY, "Keep the events and send them again.", {"Retry-After": "1"})
    try:
        return json_response(await run_in_threadpool(_keep, context, rows, _sensor_of(request)), 202)
    finally:
        places.release()


@router.post("/v1/sensors/{sensor_id}/status", status_code=204, responses=problems(422, 503), openapi_extra=BODY)
async def take_status(sensor_id: Annotated[str, Path(max_length=64)], request: Request, context: Context) -> Response:
    """Take a sensor's heartbeat."""
    try:
        status = msgspec.json.decode(await request.body(), type=SensorStatus)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Problem(Kind.INVALID_PARAMETER, f"This is no status: {error}") from None
    if status.sensor_id != sensor_id or _sensor_of(request) not in {None, sensor_id}:
        raise Problem(Kind.NOT_ALLOWED, "A sensor speaks for itself only: use the token that was made for it.")
    await run_in_threadpool(context.store.save_heartbeat, status)
    return Response(status_code=204)


def _sensor_of(request: Request) -> str | None:
    token = principal_of(request).token
    return token.sensor_id if token else None


def _split(body: bytes) -> list[bytes]:
    """Return the events of a body, each as JSON.

    Raises:
        Problem: it is neither an array nor lines, or has too many.
    """
    if body.lstrip()[:1] == b"[":
        try:
            rows = [bytes(row) for row in msgspec.json.decode(body, type=list[msgspec.Raw])]
        except (msgspec.MsgspecError, UnicodeDecodeError):
            raise Problem(Kind.INVALID_PARAMETER, "Send one JSON object a line, or one array of them.") from None
    else:
        rows = [line for line in body.splitlines() if line.strip()]
    if len(rows) > MAX_EVENTS:
        raise Problem(Kind.TOO_LARGE, f"Send {MAX_EVENTS} events at most in one batch.")
    return rows


def _keep(context: ApiContext, rows: list[bytes], sensor_id: str | None) -> dict[str, object]:
    read = [_read(row, sensor_id) for row in rows]
    ids = [each.event_id for each in read if isinstance(each, Event)]
    owners = context.store.event_sensors(ids)
    rejected: list[dict[str, object]] = []
    events: list[Event] = []
    places: list[int] = []
    for index, each in enumerate(read):
        if isinstance(each, str):
            rejected.append({"index": index, "event_id": None, "problem": each})
        elif owners.setdefault(each.event_id, each.sensor_id) != each.sensor_id:
            rejected.append({"index": index, "event_id": each.event_id, "problem": "this event is another sensor's"})
        else:
            events.append(each)
            places.append(index)
    result = context.store.append(events)
    rejected += [
        {"index": places[row.index], "event_id": row.event_id, "problem": row.problem} for row in result.rejected
    ]
    counts = {"accepted": result.stored, "updated": result.updated, "duplicate": result.ignored}
    return {**counts, "rejected": sorted(rejected, key=lambda row: int(str(row["index"])))}


def _read(row: bytes, sensor_id: str | None) -> Event | str:
    """Return the event, or why it cannot be kept."""
    if len(row) > MAX_EVENT_OCTETS:
        return f"an event has {MAX_EVENT_OCTETS} octets at most"
    try:
        event = msgspec.json.decode(row, type=Event)
        uuid.UUID(event.event_id)
    except (msgspec.MsgspecError, UnicodeDecodeError, ValueError) as error:
        return f"this is no event: {error}"[:200]
    if event.verdict is Outcome.UNKNOWN:
        return "what is unknown is not stored"
    if sensor_id is not None and event.sensor_id != sensor_id:
        return "this token writes as another sensor"
    if len(event.evidence) > MAX_EVIDENCE_OCTETS:
        return f"evidence has {MAX_EVIDENCE_OCTETS} octets at most"
    return event
