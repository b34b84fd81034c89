"""The demonstration: a recorded agent, as if it had connected now."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from api.dependencies import Context
from api.documents import json_response
from api.openapi import problems
from api.page.overview import KeptCounts
from api.problems import Kind, Problem
from api.schemas.health import DemonstrationDocument
from rules.values.event import DEMONSTRATION

router = APIRouter(tags=["demonstration"])


@router.post("/v1/demonstration", response_model=DemonstrationDocument, responses=problems(404, 503))
def play_demonstration(context: Context, request: Request) -> Response:
    """Play a recording of an agent through pipeline and rules; its events have the sensor id `demonstration`."""
    if context.demonstrate is None:
        raise Problem(Kind.NOT_FOUND, "No recording is installed: run from a checkout, which has pcaps/.")
    events = context.demonstrate()
    request.app.state.kept_counts = KeptCounts()
    return json_response({"events": events})


@router.delete("/v1/demonstration", response_model=DemonstrationDocument, responses=problems(503))
def remove_demonstration(context: Context, request: Request) -> Response:
    """Remove every event of demonstrations, with packets, sums and findings; `events` says how many there were."""
    events = context.store.forget_events_of(DEMONSTRATION)
    request.app.state.kept_counts = KeptCounts()
    return json_response({"events": events})
