"""Enrolment: a new sensor gives its enrolment token and has a token of its own from then on."""

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from api.access.credentials import MAX_TOKENS
from api.access.principal import principal_of
from api.access.secrets import digest_of, new_id, new_secret, written
from api.context import ApiContext
from api.dependencies import Context
from api.documents import json_response
from api.openapi import problems
from api.problems import Kind, Problem
from api.schemas.access import EnrolledDocument
from db.access.values import Token, TokenScope
from rules.values.event import DEMONSTRATION

router = APIRouter(tags=["sensors"])
OTHER = "This enrolment token was made for another sensor: make one for this id, or for any."
RESERVED = f"The id {DEMONSTRATION} is the demonstration's, whose events are removed with it: choose another."
KNOWN = "A sensor of this id is there already. If it is this host, make an enrolment token for it (--sensor ID)."
USED = f"This enrolment token was used already, or there are {MAX_TOKENS} tokens: make another."


class EnrolBody(BaseModel):
    """Who wants to become a sensor."""

    model_config = ConfigDict(extra="forbid")

    sensor_id: str = Field(
        min_length=1, max_length=64, pattern="^[A-Za-z0-9-]+$", examples=["019ab1f0-8c00-7000-8000-00000000002a"]
    )
    hostname: str = Field(min_length=1, max_length=253, pattern="^[!-~]+$", examples=["gateway.example.com"])


@router.post(
    "/v1/sensors:enrol", status_code=201, response_model=EnrolledDocument, responses=problems(409, 413, 422, 503)
)
def enrol(body: EnrolBody, context: Context, request: Request) -> Response:
    """Exchange an enrolment token for the sensor's own, which is shown this once; the enrolment token is used up.

    The new token writes as this sensor and reads its rules, from the addresses that the enrolment token was good from.
    Every other token of this sensor ends.
    """
    enrolment = principal_of(request).token
    if enrolment is None or enrolment.sensor_id not in {None, body.sensor_id}:
        raise Problem(Kind.NOT_ALLOWED, OTHER)
    if body.sensor_id == DEMONSTRATION:
        raise Problem(Kind.CONFLICT, RESERVED)
    if enrolment.sensor_id is None and _is_known(body.sensor_id, context):
        raise Problem(Kind.CONFLICT, KNOWN)
    secret, now_ns = new_secret(), context.now_ns()
    token = Token(
        token_id=new_id(),
        name=body.hostname,
        scopes=(TokenScope.EVENTS_WRITE,),
        sensor_id=body.sensor_id,
        allowed=enrolment.allowed,
        denied=enrolment.denied,
        digest=digest_of(secret),
        created_at_ns=now_ns,
    )
    if not context.store.exchange_token(enrolment, token, now_ns, MAX_TOKENS):
        raise Problem(Kind.CONFLICT, USED)
    return json_response({"sensor_id": body.sensor_id, "token": written(token.token_id, secret)}, 201)


def _is_known(sensor_id: str, context: ApiContext) -> bool:
    has_token = any(row.sensor_id == sensor_id and row.revoked_at_ns is None for row in context.store.tokens())
    return has_token or any(row.sensor_id == sensor_id for row in context.store.sensors())
