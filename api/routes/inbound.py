"""Webhooks that come in: programs such as a SOAR change findings, proved by a signature (Standard Webhooks)."""

from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from api.access.audit import begin_act
from api.access.principal import Principal
from api.context import ApiContext
from api.dependencies import Context
from api.openapi import SCHEMA_PATH, problems
from api.problems import Kind, Problem
from api.requests.output_bodies import InboundBody
from api.routes.findings import NO_FINDING
from api.sealed import Seal
from api.times import NS_PER_S
from api.webhooks import is_authentic
from db.access.values import ActorKind
from db.workflow.values import Answered

MAX_ID = 256
NOT_AUTHENTIC = "Sign the webhook with the secret of this source, within five minutes (standardwebhooks.com)."
UNDER_WAY = "This webhook is still being worked on, or was given up: send it again in a minute."
TAKEN = 204
RETRY_AFTER_S = "60"

router = APIRouter(tags=["outputs"])


@router.post(
    "/v1/webhooks/{source_id}",
    status_code=TAKEN,
    responses=problems(404, 409, 422, 503),
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": {"$ref": SCHEMA_PATH.format(model=InboundBody.__name__)}}},
        }
    },
)
async def take_webhook(source_id: Annotated[str, Path(max_length=64)], context: Context, request: Request) -> Response:
    """Change a finding as a program asks by a signed webhook; one that comes again does nothing again."""
    body = await request.body()
    return await run_in_threadpool(_take, source_id, context, request, body)


def _take(source_id: str, context: ApiContext, request: Request, body: bytes) -> Response:
    source = next((row for row in context.store.outputs.sources() if row.source_id == source_id), None)
    keys = Seal(context.output_key).open(source.secrets) if source else []
    message_id = request.headers.get("webhook-id", "")
    is_signed = is_authentic(keys, request.headers, body, context.now_ns() // NS_PER_S)
    if source is None or not is_signed or len(message_id) > MAX_ID:
        raise Problem(Kind.NOT_SIGNED, NOT_AUTHENTIC)
    program = Principal(ActorKind.TOKEN, source_id, f"webhook:{source.name}")
    context = context.on_behalf_of(begin_act(request, program, "webhook.take", source_id))
    actor, answered = program.name, context.store.answered
    earlier = answered.begin(f"webhook:{source_id}", message_id, b"", context.now_ns())
    if earlier is not None and not earlier.status:
        raise Problem(Kind.CONFLICT, UNDER_WAY, {"Retry-After": RETRY_AFTER_S})
    if earlier is not None:
        return Response(status_code=TAKEN)
    try:
        _change(context, body, actor)
    except Problem:
        answered.forget(f"webhook:{source_id}", message_id)
        raise
    answered.finish(f"webhook:{source_id}", message_id, Answered(b"", 0, TAKEN, {}, b""))
    return Response(status_code=TAKEN)


def _change(context: ApiContext, body: bytes, actor: str) -> None:
    try:
        data = InboundBody.model_validate_json(body).data
    except ValidationError as error:
        where = ".".join(map(str, error.errors()[0]["loc"]))
        raise Problem(Kind.INVALID_PARAMETER, f"{where}: {error.errors()[0]['msg']}") from None
    if context.store.change_finding(data.finding_id, data.to_change(), actor, context.now_ns()) is None:
        raise Problem(Kind.NOT_FOUND, NO_FINDING)
