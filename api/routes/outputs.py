"""Outputs: where events go to by themselves, how that goes, and what could not be delivered."""

from typing import Annotated

import msgspec
from fastapi import APIRouter, Path, Query
from starlette.responses import Response

from api.caller import Who
from api.context import ApiContext
from api.dependencies import Context
from api.documents import document, json_response
from api.openapi import problems
from api.problems import Kind, Problem
from api.requests.bodies import HistoryQuery
from api.requests.output_bodies import OutputBody, SourceBody, WebhookTarget
from api.schemas.outputs import (
    DeadLetterPage,
    OutputDocument,
    OutputList,
    ReplayDocument,
    SecretDocument,
    SourceList,
    WithSecret,
)
from api.sealed import Seal
from api.webhooks import new_secret
from db.workflow.output_values import Output, OutputKind, WebhookSource
from db.workflow.outputs import MAX_OUTPUTS, MAX_SOURCES
from rules.values.event import uuid7

router = APIRouter(tags=["outputs"])
OutputId = Annotated[str, Path(max_length=64)]
NO_OUTPUT = "No output has this id; /v1/outputs lists those there are."
NO_SOURCE = "No program has this id; /v1/webhook-sources lists those there are."
SECRETS = ("token", "address")
NOT_SIGNED = "Only webhooks are signed, and have a secret to change."


@router.get("/v1/outputs", response_model=OutputList, responses=problems(503))
def list_outputs(context: Context) -> Response:
    """Every output with how it goes: what waits (`lag`), what failed, what lies among the dead letters."""
    newest = context.store.last_ingest_seq()
    return json_response({"items": [_document(row, newest) for row in context.store.outputs.outputs()]})


@router.post("/v1/outputs", status_code=201, response_model=WithSecret, responses=problems(409, 422, 503))
def make_output(body: OutputBody, context: Context, who: Who) -> Response:
    """Have events go somewhere by themselves, at least once each, in the order in which they were stored.

    A webhook's secret is in this answer and nowhere else.
    """
    newest = context.store.last_ingest_seq()
    target = body.target.model_dump()
    secret = new_secret() if isinstance(body.target, WebhookTarget) else None
    secrets = [secret] if secret else [str(target[name]) for name in SECRETS if name in target]
    made = Output(
        output_id=uuid7(context.now_ns()),
        name=body.name,
        kind=OutputKind(target.pop("kind")),
        target={name: value for name, value in target.items() if name not in SECRETS},
        wanted=body.wanted.to_filter(),
        secrets=Seal(context.output_key).close(secrets),
        created_by=who.name,
        created_at_ns=context.now_ns(),
        place=0 if body.from_beginning else newest,
    )
    if not context.store.outputs.add_output(made):
        raise Problem(Kind.CONFLICT, f"{MAX_OUTPUTS} outputs are all there is room for: remove one first.")
    context.outputs_changed()
    return json_response(_document(made, newest) | {"secret": secret}, 201)


@router.get("/v1/outputs/{output_id}", response_model=OutputDocument, responses=problems(404, 422, 503))
def get_output(output_id: OutputId, context: Context) -> Response:
    """One output."""
    return json_response(_document(_output(output_id, context), context.store.last_ingest_seq()))


@router.delete("/v1/outputs/{output_id}", status_code=204, responses=problems(404, 422, 503))
def remove_output(output_id: OutputId, context: Context) -> Response:
    """Remove an output with its dead letters."""
    if not context.store.outputs.remove_output(output_id):
        raise Problem(Kind.NOT_FOUND, NO_OUTPUT)
    context.outputs_changed()
    return Response(status_code=204)


@router.post("/v1/outputs/{output_id}/pause", response_model=OutputDocument, responses=problems(404, 422, 503))
def pause_output(output_id: OutputId, context: Context) -> Response:
    """Send nothing more to an output until it is resumed, which goes on from where it stands."""
    return _set_paused(output_id, context, is_paused=True)


@router.post("/v1/outputs/{output_id}/resume", response_model=OutputDocument, responses=problems(404, 422, 503))
def resume_output(output_id: OutputId, context: Context) -> Response:
    """Let an output that was paused go on: nothing was lost but what retention removed meanwhile."""
    return _set_paused(output_id, context, is_paused=False)


@router.post("/v1/outputs/{output_id}/try", status_code=204, responses=problems(404, 409, 422, 503))
def try_output(output_id: OutputId, context: Context) -> Response:
    """Send an event of the sensor `trial`, which says that nothing happened; 409 says why it was not taken."""
    _output(output_id, context)
    if problem := context.try_output(output_id):
        raise Problem(Kind.CONFLICT, f"The trial was not taken: {problem}")
    return Response(status_code=204)


@router.post("/v1/outputs/{output_id}/rotate", response_model=SecretDocument, responses=problems(404, 409, 422, 503))
def rotate_secret(output_id: OutputId, context: Context) -> Response:
    """Give a webhook a new secret. From now on the new and the one before sign; rotate again to be rid of that one."""
    output, seal = _output(output_id, context), Seal(context.output_key)
    if output.kind is not OutputKind.WEBHOOK:
        raise Problem(Kind.CONFLICT, NOT_SIGNED)
    secret = new_secret()
    context.store.outputs.set_secrets(output_id, seal.close([secret, seal.open(output.secrets)[0]]))
    return json_response({"secret": secret})


@router.get("/v1/outputs/{output_id}/dead-letters", response_model=DeadLetterPage, responses=problems(404, 422, 503))
def list_dead_letters(output_id: OutputId, query: Annotated[HistoryQuery, Query()], context: Context) -> Response:
    """What an output could not deliver in a day of trying, the oldest first."""
    _output(output_id, context)
    found = context.store.outputs.dead_letters(output_id, query.after, query.limit + 1)
    more = found[query.limit - 1].letter_id if len(found) > query.limit else None
    return json_response({"items": list(map(document, found[: query.limit])), "next": more})


@router.post(
    "/v1/outputs/{output_id}/dead-letters/replay",
    response_model=ReplayDocument,
    responses=problems(404, 409, 422, 503),
)
def replay_dead_letters(output_id: OutputId, context: Context) -> Response:
    """Deliver an output's dead letters again; what is taken leaves."""
    _output(output_id, context)
    taken, problem = context.replay_letters(output_id)
    if problem:
        raise Problem(Kind.CONFLICT, f"{taken} were taken, then: {problem}")
    return json_response({"taken": taken})


@router.get("/v1/webhook-sources", response_model=SourceList, responses=problems(503))
def list_sources(context: Context) -> Response:
    """The programs that may change findings by signed webhooks."""
    return json_response({"items": [_source(row) for row in context.store.outputs.sources()]})


@router.post("/v1/webhook-sources", status_code=201, response_model=WithSecret, responses=problems(409, 422, 503))
def make_source(body: SourceBody, context: Context, who: Who) -> Response:
    """Let a program change findings by signed webhooks to `/v1/webhooks/{source_id}`; its secret is shown once."""
    secret, now_ns = new_secret(), context.now_ns()
    made = WebhookSource(
        source_id=uuid7(now_ns),
        name=body.name,
        secrets=Seal(context.output_key).close([secret]),
        created_by=who.name,
        created_at_ns=now_ns,
    )
    if not context.store.outputs.add_source(made):
        raise Problem(Kind.CONFLICT, f"{MAX_SOURCES} programs are all there is room for: remove one first.")
    return json_response(_source(made) | {"secret": secret}, 201)


@router.delete("/v1/webhook-sources/{source_id}", status_code=204, responses=problems(404, 422, 503))
def remove_source(source_id: OutputId, context: Context) -> Response:
    """Take the right to change findings from a program."""
    if not context.store.outputs.remove_source(source_id):
        raise Problem(Kind.NOT_FOUND, NO_SOURCE)
    return Response(status_code=204)


def _output(output_id: str, context: ApiContext) -> Output:
    found = context.store.outputs.output(output_id)
    if found is None:
        raise Problem(Kind.NOT_FOUND, NO_OUTPUT)
    return found


def _set_paused(output_id: str, context: ApiContext, *, is_paused: bool) -> Response:
    if not context.store.outputs.set_paused(output_id, is_paused):
        raise Problem(Kind.NOT_FOUND, NO_OUTPUT)
    return get_output(output_id, context)


def _document(output: Output, newest: int) -> dict[str, object]:
    members = document(output)
    del members["secrets"]
    members["wanted"] = msgspec.to_builtins(output.wanted)
    members["lag"] = max(0, newest - output.place)
    return members


def _source(source: WebhookSource) -> dict[str, object]:
    members = document(source)
    del members["secrets"]
    return members
