"""Exceptions: who may use a service for a while. The policy file's are shown, those made here are kept."""

from typing import Annotated

import msgspec
from fastapi import APIRouter, Path, Query
from starlette.responses import Response

from api.caller import Who
from api.context import ApiContext
from api.dependencies import Context
from api.documents import json_response
from api.openapi import problems
from api.policy.checks import require_exception
from api.policy.exceptions import exception_document, exceptions_of_file
from api.problems import Kind, Problem
from api.requests.bodies import ExceptionBody, ExceptionQuery
from api.schemas.workflow import ExceptionDocument, ExceptionPage
from db.workflow.policy import MAX_EXCEPTIONS
from db.workflow.values import ExceptionStatus, StoredException
from rules.values.event import uuid7

router = APIRouter(tags=["exceptions"])
ExceptionId = Annotated[str, Path(max_length=64)]
NO_EXCEPTION = "No exception that was made over the API has this id; /v1/exceptions lists them."
FULL = f"{MAX_EXCEPTIONS} exceptions are open, which is all there is room for: revoke some first."
NOT_WAITING = "This exception does not wait for approval by you: who asked for it cannot approve it."
ENDED = "This exception has ended already."


@router.get("/v1/exceptions", response_model=ExceptionPage, responses=problems(422, 503))
def list_exceptions(query: Annotated[ExceptionQuery, Query()], context: Context) -> Response:
    """Exceptions: the policy file's first, then those made over the API, newest first, ended ones too."""
    found = context.store.policy.exceptions(query.status, query.service, query.after, query.limit + 1)
    items = [exception_document(row, context) for row in found[: query.limit]]
    if query.after is None and query.status in {None, ExceptionStatus.ACTIVE}:
        items = [*exceptions_of_file(context, query.service), *items]
    return json_response(
        {"items": items, "next": found[query.limit - 1].exception_id if len(found) > query.limit else None}
    )


@router.post("/v1/exceptions", status_code=201, response_model=ExceptionDocument, responses=problems(409, 422, 503))
def make_exception(body: ExceptionBody, context: Context, who: Who) -> Response:
    """Let somebody use a service for a while; where a second person must agree, it waits for that (`requested`).

    It takes effect within seconds, on findings that are there too, and without a restart.
    """
    now_ns = context.now_ns()
    require_exception(body, context.ruleset(), now_ns)
    status = ExceptionStatus.REQUESTED if context.needs_approval() else ExceptionStatus.ACTIVE
    history = {"exception_id": uuid7(now_ns), "status": status, "requested_by": who.name, "requested_at_ns": now_ns}
    made = msgspec.convert(body.model_dump() | history, StoredException)
    if not context.store.policy.add_exception(made):
        raise Problem(Kind.CONFLICT, FULL)
    context.policy_changed()
    headers = {"Location": f"/v1/exceptions/{made.exception_id}"}
    return json_response(exception_document(made, context), 201, headers)


@router.get("/v1/exceptions/{exception_id}", response_model=ExceptionDocument, responses=problems(404, 422, 503))
def get_exception(exception_id: ExceptionId, context: Context) -> Response:
    """One exception."""
    in_file = next((row for row in exceptions_of_file(context) if row["exception_id"] == exception_id), None)
    return json_response(in_file) if in_file else _respond(exception_id, context)


@router.post(
    "/v1/exceptions/{exception_id}/approve", response_model=ExceptionDocument, responses=problems(404, 409, 422, 503)
)
def approve_exception(exception_id: ExceptionId, context: Context, who: Who) -> Response:
    """Agree to an exception that another person asked for."""
    return _decide(exception_id, context, who, is_approved=True)


@router.post(
    "/v1/exceptions/{exception_id}/reject", response_model=ExceptionDocument, responses=problems(404, 409, 422, 503)
)
def reject_exception(exception_id: ExceptionId, context: Context, who: Who) -> Response:
    """Refuse an exception that waits for approval."""
    return _decide(exception_id, context, who, is_approved=False)


@router.post(
    "/v1/exceptions/{exception_id}/revoke", response_model=ExceptionDocument, responses=problems(404, 409, 422, 503)
)
def revoke_exception(exception_id: ExceptionId, context: Context, who: Who) -> Response:
    """End an exception; the findings that it held for are open again."""
    if not context.store.policy.end_exception(exception_id, who.name, context.now_ns()):
        _respond(exception_id, context)
        raise Problem(Kind.CONFLICT, ENDED)
    context.policy_changed()
    return _respond(exception_id, context)


def _decide(exception_id: str, context: ApiContext, who: Who, *, is_approved: bool) -> Response:
    store, now_ns = context.store.policy, context.now_ns()
    if not store.decide_exception(exception_id, who.name, now_ns, is_approved=is_approved):
        _respond(exception_id, context)
        raise Problem(Kind.CONFLICT, NOT_WAITING)
    context.policy_changed()
    return _respond(exception_id, context)


def _respond(exception_id: str, context: ApiContext) -> Response:
    found = context.store.policy.exception(exception_id)
    if found is None:
        raise Problem(Kind.NOT_FOUND, NO_EXCEPTION)
    return json_response(exception_document(found, context))
