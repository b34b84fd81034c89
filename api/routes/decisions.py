"""The part of CrowdSec's local API that bouncers use, answered from the block lists."""

import ipaddress
from collections.abc import Iterator
from http import HTTPStatus
from typing import Annotated, Any, NamedTuple

import msgspec
from fastapi import APIRouter, Header, Query
from starlette.requests import Request
from starlette.responses import Response

from api.access.gate import profile_of
from api.access.principal import principal_of
from api.context import ApiContext
from api.dependencies import Context
from api.documents import json_response
from api.feeds.decisions import DEFAULT_SCOPES, Decision, DecisionStream, Wanted, decisions
from api.feeds.pull_log import Pulled, note_pull
from api.openapi import problems
from api.problems import FORBIDDEN, Kind, Problem
from db.access.values import ActorKind, Token
from rules.lists.blocklist import Body, ListName, Snapshot
from rules.lists.encoding import decode
from rules.policy.profiles import DEFAULT_PROFILE

RETRY_AFTER_S = 30
MAX_KEY = 256
MAX_WORDS = 512
REFUSED: dict[int | str, dict[str, Any]] = {
    403: {"description": "The key does not open this", "content": {"application/json": {"example": FORBIDDEN}}}
}

router = APIRouter(tags=["decisions"])
Words = Annotated[str, Query(max_length=MAX_WORDS)]
ApiKey = Annotated[str | None, Header(alias="X-Api-Key", max_length=MAX_KEY)]


@router.get("/v1/decisions/stream", response_class=Response, responses=problems(422, 503) | REFUSED)
def stream_decisions(
    request: Request,
    context: Context,
    *,
    x_api_key: ApiKey = None,
    startup: Annotated[str, Query(max_length=5)] = "false",
    scopes: Words = "",
    scenarios_containing: Words = "",
    scenarios_not_containing: Words = "",
    origins: Words = "",
) -> Response:
    """What a bouncer is to ban: everything at `startup`, then what changed since the same key asked before."""
    bouncer = _bouncer(request, x_api_key)
    wanted = Wanted(
        scopes=frozenset(_words(scopes.lower())) or DEFAULT_SCOPES,
        containing=_words(scenarios_containing),
        not_containing=_words(scenarios_not_containing),
        origins=_words(origins),
    )
    stream: DecisionStream = request.app.state.decisions
    snapshots = _snapshots(context, bouncer.profile, wanted)
    new, deleted = stream.pull(bouncer.key, wanted, snapshots, startup=startup.lower() == "true")
    for snapshot in snapshots:
        what = Pulled(snapshot.list_name, snapshot.profile, "decisions")
        note_pull(request, bouncer.token, what, snapshot.serial, HTTPStatus.OK)
    return json_response({"new": new or None, "deleted": deleted or None})


@router.get("/v1/decisions", response_class=Response, responses=problems(422, 503) | REFUSED)
def list_decisions(
    request: Request,
    context: Context,
    *,
    x_api_key: ApiKey = None,
    ip: Annotated[str | None, Query(max_length=64)] = None,
    scope: Annotated[str | None, Query(max_length=16)] = None,
    value: Annotated[str | None, Query(max_length=255)] = None,
) -> Response:
    """The decisions about one address or value, null when there are none."""
    bouncer = _bouncer(request, x_api_key)
    wanted = Wanted(scopes=frozenset({scope.lower()})) if scope else Wanted()
    address = _address(ip) if ip else None
    found = [
        row
        for snapshot in _snapshots(context, bouncer.profile, wanted)
        for row in decisions(snapshot.body)
        if wanted.has(row) and _is_about(row, address, value)
    ]
    return json_response(found or None)


@router.post("/v1/usage-metrics", status_code=201, response_class=Response, responses=problems(422) | REFUSED)
def take_usage_metrics(request: Request, x_api_key: ApiKey = None) -> Response:
    """Taken from newer bouncers and not kept."""
    _bouncer(request, x_api_key)
    return json_response({"message": "not kept"}, status=201)


def earlier_bodies(context: ApiContext, snapshot: Snapshot) -> Iterator[Body]:
    """Yield the kept states of a list before `snapshot`, newest first."""
    for row in context.store.snapshots(snapshot.list_name, snapshot.profile):
        kept = context.store.snapshot(snapshot.list_name, row.serial, snapshot.profile)
        if kept is not None and kept.digest != snapshot.digest:
            try:
                yield decode(kept.body)
            except msgspec.MsgspecError:
                continue


class _Bouncer(NamedTuple):
    """Who pulls, in which profile, and the token if it has one; two addresses with one token are two."""

    key: str
    profile: str
    token: Token | None


def _bouncer(request: Request, key: str | None) -> _Bouncer:
    """Return who pulls and in which profile: a token or a person, on trusted loopback whoever has a word for itself.

    Raises:
        Problem: Nobody that can be told from others.
    """
    principal, address = principal_of(request), request.client.host if request.client else ""
    if principal.kind is not ActorKind.LOCAL:
        return _Bouncer(f"{principal.id} {address}", profile_of(request, principal.token), principal.token)
    if not key:
        raise Problem(Kind.NOT_ALLOWED, "Send a key.")
    return _Bouncer(f"{key} {address}", DEFAULT_PROFILE, None)


def _snapshots(context: ApiContext, profile: str, wanted: Wanted) -> tuple[Snapshot, ...]:
    """Return the lists that hold what is wanted.

    Raises:
        Problem: One is not built yet; the bouncer keeps what it has.
    """
    names = [ListName.UNSANCTIONED_ADDRESSES] if wanted.scopes & DEFAULT_SCOPES else []
    names += [ListName.UNSANCTIONED_DOMAINS] if "domain" in wanted.scopes else []
    found = [context.snapshot(name, profile) for name in names]
    if None in found:
        detail = "Keep the decisions you have and ask again soon: the list is being built."
        raise Problem(Kind.NO_SNAPSHOT, detail, {"Retry-After": str(RETRY_AFTER_S)})
    return tuple(snapshot for snapshot in found if snapshot is not None)


def _words(text: str) -> tuple[str, ...]:
    return tuple(sorted({word.strip() for word in text.split(",") if word.strip()}))


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        raise Problem(Kind.INVALID_PARAMETER, "ip: give an IPv4 or IPv6 address such as 198.51.100.7") from None


def _is_about(row: Decision, address: ipaddress.IPv4Address | ipaddress.IPv6Address | None, value: str | None) -> bool:
    if value is not None and row["value"] != value:
        return False
    if address is None:
        return True
    return row["scope"] != "Domain" and address in ipaddress.ip_network(str(row["value"]))
