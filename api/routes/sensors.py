"""Sensors: who watches, and whether it keeps up."""

from fastapi import APIRouter
from starlette.responses import Response

from api.dependencies import Context
from api.documents import document, json_response
from api.openapi import problems
from api.schemas import SensorList

router = APIRouter(tags=["sensors"])


@router.get("/v1/sensors", response_model=SensorList, responses=problems(503))
def list_sensors(context: Context) -> Response:
    """Every sensor's newest heartbeat."""
    now_ns = context.now_ns()
    rows = [document(sensor) | {"state": sensor.state(now_ns)} for sensor in context.store.sensors()]
    return json_response({"items": rows})
