"""Sensors: who watches, whether it keeps up, and the rules that those on other hosts take from here."""

from typing import Annotated

from fastapi import APIRouter, Path
from starlette.requests import Request
from starlette.responses import Response

from api.access.principal import principal_of
from api.dependencies import Context
from api.documents import document, json_response
from api.feeds.conditions import is_unchanged
from api.openapi import problems
from api.policy.sensor_rules import SensorRules
from api.problems import Kind, Problem
from api.schemas.sensors import SensorList, SensorRulesDocument

router = APIRouter(tags=["sensors"])
SensorId = Annotated[str, Path(max_length=64)]
NOT_YOURS = "A sensor reads its own rules only: use the token that was made for it (`token create --sensor ID`)."
SHIPPED = "The catalogue in force came with the program, or its signature was not kept: there is no update to hand on."
SIGNATURE = "X-Catalogue-Signature"
OCTETS = {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}
UNCHANGED = {"description": "The sensor has this revision"}


@router.get("/v1/sensors", response_model=SensorList, responses=problems(503))
def list_sensors(context: Context, request: Request) -> Response:
    """Every sensor's newest heartbeat."""
    now_ns, rules = context.now_ns(), rules_of(request)
    rows = [
        document(sensor) | {"state": sensor.state(now_ns), "rules_state": rules.state_of(sensor, now_ns)}
        for sensor in context.store.sensors()
    ]
    return json_response({"items": rows})


@router.get(
    "/v1/sensors/{sensor_id}/rules",
    response_model=SensorRulesDocument,
    responses=problems(422, 503) | {304: UNCHANGED},
)
def get_rules(sensor_id: SensorId, request: Request) -> Response:
    """The policy in force, file and database together, and which catalogue. The entity tag is SHA-256 of the body.

    Only for a token that is bound to this sensor.
    """
    _require_own(sensor_id, request)
    shared = rules_of(request).current()
    headers = {"ETag": shared.etag, "Cache-Control": "private, no-cache"}
    if is_unchanged(request.headers, shared.etag, -1):
        return Response(status_code=304, headers=headers)
    return Response(shared.body, headers=headers, media_type="application/json")


@router.get(
    "/v1/sensors/{sensor_id}/catalogue",
    response_class=Response,
    responses=problems(404, 422, 503) | {200: OCTETS},
)
def get_catalogue(sensor_id: SensorId, request: Request, context: Context) -> Response:
    """The catalogue's update in force, as it was signed; `X-Catalogue-Signature` is what stands in its `.sig`."""
    _require_own(sensor_id, request)
    update = context.catalogue_update()
    if update is None:
        raise Problem(Kind.NOT_FOUND, SHIPPED)
    headers = {SIGNATURE: update.signature.decode("ascii").strip(), "Cache-Control": "private, no-cache"}
    return Response(update.octets, headers=headers, media_type="application/octet-stream")


def rules_of(request: Request) -> SensorRules:
    """Return what sensors are handed here."""
    rules: SensorRules = request.app.state.sensor_rules
    return rules


def _require_own(sensor_id: str, request: Request) -> None:
    token = principal_of(request).token
    if token is None or token.sensor_id != sensor_id:
        raise Problem(Kind.NOT_ALLOWED, NOT_YOURS)
