"""Tokens of machines: made, listed, given a second secret, ended. A secret is shown once."""

from typing import Annotated, Self

import msgspec
from fastapi import APIRouter, Path
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from starlette.requests import Request
from starlette.responses import Response

from api.access.addresses import parse_networks
from api.access.audit import begin_act
from api.access.credentials import MAX_TOKENS
from api.access.enrolment import checked_expiry
from api.access.principal import principal_of
from api.access.secrets import digest_of, new_id, new_secret, written
from api.context import ApiContext
from api.dependencies import Context
from api.documents import document, json_response
from api.openapi import problems
from api.problems import Kind, Problem
from api.requests.bodies import LINE, Person
from api.requests.parameters import Time
from api.schemas.access import NewTokenDocument, TokenDocument, TokenList
from db.access.values import SENSORS, Token, TokenScope
from rules.lists.blocklist import ListName
from rules.values.event import DEMONSTRATION

MAX_PREFIXES = 64

router = APIRouter(tags=["access"])
TokenId = Annotated[str, Path(max_length=12, description="The 12 digits after mc_")]
Prefixes = Annotated[
    list[Annotated[str, Field(max_length=64, examples=["10.1.0.0/16"])]], Field(max_length=MAX_PREFIXES)
]


class TokenBody(BaseModel):
    """A token to be made."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    name: Person = Field(description="Who will use it", examples=["paloalto-berlin-1"])
    scopes: list[TokenScope] = Field(min_length=1, max_length=len(TokenScope), examples=[["feeds:read"]])
    list_name: ListName | None = Field(None, alias="list", description="Only this list")
    profile: str | None = Field(None, max_length=64, description="Only this profile of lists")
    sensor: str | None = Field(None, max_length=64, pattern=LINE, description="Only as this sensor")
    allow: Prefixes = Field(default_factory=list, description="Only from here; from everywhere if empty")
    deny: Prefixes = Field(default_factory=list, description="Never from here; goes before `allow`")
    expires_at_ns: Time | None = Field(None, alias="expires_at", description="RFC 3339; good until revoked if absent")

    @field_validator("allow", "deny")
    @classmethod
    def _are_prefixes(cls, prefixes: list[str]) -> list[str]:
        return [str(network) for network in parse_networks(prefixes)]

    @model_validator(mode="after")
    def _is_a_sensor_bound(self) -> Self:
        if self.sensor is not None and SENSORS.isdisjoint(self.scopes):
            raise ValueError("sensor: only a token with the scope events:write or sensors:enrol is a sensor's")
        if self.sensor == DEMONSTRATION:
            raise ValueError(f"sensor: {DEMONSTRATION} is the demonstration's: choose another id")
        return self

    def to_token(self, secret: str, now_ns: int) -> Token:
        """Return the token with the digest of its secret."""
        return Token(
            token_id=new_id(),
            name=self.name,
            scopes=tuple(dict.fromkeys(self.scopes)),
            list_name=self.list_name,
            profile=self.profile,
            sensor_id=self.sensor,
            allowed=tuple(self.allow),
            denied=tuple(self.deny),
            digest=digest_of(secret),
            created_at_ns=now_ns,
            expires_at_ns=self.expires_at_ns,
        )


class RotateBody(BaseModel):
    """Which part of a rotation: a second secret, another one in its place, or the end of the one before the newest."""

    model_config = ConfigDict(extra="forbid")

    finish: bool = Field(default=False, strict=True, description="Make no new secret; end the one before the newest")
    replace: bool = Field(
        default=False, strict=True, description="Make another newest secret, as when that was lost; it ends"
    )

    @model_validator(mode="after")
    def _is_one_of_them(self) -> Self:
        if self.finish and self.replace:
            raise ValueError("replace: give finish or replace")
        return self


@router.get("/v1/tokens", response_model=TokenList, responses=problems(503))
def list_tokens(context: Context) -> Response:
    """Every token, revoked ones too; no secret."""
    return json_response({"items": [_document(token) for token in context.store.tokens()]})


@router.get("/v1/tokens/{token_id}", response_model=TokenDocument, responses=problems(404, 422, 503))
def get_token(token_id: TokenId, context: Context) -> Response:
    """One token; no secret."""
    return json_response(_document(_find(context, token_id)))


@router.post("/v1/tokens", status_code=201, response_model=NewTokenDocument, responses=problems(409, 422, 503))
def create_token(body: TokenBody, context: Context) -> Response:
    """Make a token, unless `expires_at` is past. `token` in the answer is shown this once: only its digest is kept.

    One of the scope `sensors:enrol` is good once, for an hour unless `expires_at` says another time within a day.
    """
    secret, now_ns = new_secret(), context.now_ns()
    try:
        expires_at_ns = checked_expiry(body.scopes, body.expires_at_ns, now_ns)
    except ValueError as error:
        raise Problem(Kind.INVALID_PARAMETER, str(error)) from None
    token = msgspec.structs.replace(body.to_token(secret, now_ns), expires_at_ns=expires_at_ns)
    if not context.store.add_token(token, MAX_TOKENS):
        raise Problem(Kind.CONFLICT, f"There are {MAX_TOKENS} tokens already.")
    return json_response(_document(token) | {"token": written(token.token_id, secret)}, 201)


@router.post("/v1/tokens/{token_id}/rotate", response_model=NewTokenDocument, responses=problems(404, 409, 422, 503))
def rotate_token(token_id: TokenId, body: RotateBody, context: Context, request: Request) -> Response:
    """Give a token a second secret; the one before stays good until this is called with `finish`.

    409 while two are good: a device may still use the older one. `replace` makes another one in place of the newer.
    """
    if body.finish:
        act = begin_act(request, principal_of(request), "token.finish", token_id)
        is_done, shown = context.on_behalf_of(act).store.drop_previous_secret(token_id), None
    else:
        secret = new_secret()
        change = context.store.replace_newest_secret if body.replace else context.store.rotate_token
        is_done, shown = change(token_id, digest_of(secret)), written(token_id, secret)
    if not is_done:
        raise _not_rotated(context, token_id)
    return json_response(_document(_find(context, token_id)) | {"token": shown})


@router.post("/v1/tokens/{token_id}/revoke", response_model=TokenDocument, responses=problems(404, 422, 503))
def revoke_token(token_id: TokenId, context: Context) -> Response:
    """End a token for good, within a second. A firewall that uses it may stop enforcing its list."""
    if not context.store.revoke_token(token_id, context.now_ns()):
        raise _absent(token_id)
    return json_response(_document(_find(context, token_id)))


def _find(context: ApiContext, token_id: str) -> Token:
    found = [token for token in context.store.tokens() if token.token_id == token_id]
    if not found:
        raise _absent(token_id)
    return found[0]


def _not_rotated(context: ApiContext, token_id: str) -> Problem:
    """Return why a token got no secret."""
    token = _find(context, token_id)
    if token.revoked_at_ns is not None:
        return _absent(token_id)
    if token.previous_digest is None:
        return Problem(Kind.CONFLICT, "It has one secret: leave `replace` out to make a second.")
    advice = "End the older one with `finish` once no device uses it, or give `replace` if the newer one was lost."
    return Problem(Kind.CONFLICT, f"Two secrets are good. {advice}")


def _absent(token_id: str) -> Problem:
    return Problem(Kind.NOT_FOUND, f"No token {token_id} is good; /v1/tokens lists those there are.")


def _document(token: Token) -> dict[str, object]:
    members = document(token)
    del members["digest"], members["previous_digest"]
    names = {"token_id": "id", "list_name": "list", "sensor_id": "sensor", "allowed": "allow", "denied": "deny"}
    return {names.get(name, name): value for name, value in members.items()} | {
        "secrets": 2 if token.previous_digest else 1
    }
