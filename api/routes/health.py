"""Health: is the process up, can it work, and its metrics."""

from typing import Any

from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.requests import Request
from starlette.responses import Response

from api.context import ApiContext
from api.dependencies import Context
from api.documents import json_response
from api.metrics import exposition
from api.openapi import problems
from api.problems import Kind, Problem
from api.schemas.health import HealthDocument, ReadinessDocument
from rules.lists.blocklist import ListName

RETRY_AFTER_S = 10
ACCESS_FILE = "access-file"
MAY_COME_LATER = (ACCESS_FILE, ListName.UNSANCTIONED_ADDRESSES.value, ListName.UNSANCTIONED_URLS.value)

router = APIRouter(tags=["health"])
alive = APIRouter(tags=["health"])


@alive.get("/healthz", response_model=HealthDocument, responses=problems())
def get_health(context: Context) -> Response:
    """The process answers."""
    return json_response({"status": "ok", "version": context.version})


@router.get("/readyz", response_model=ReadinessDocument, responses=problems(503))
def get_readiness(context: Context) -> Response:
    """The database takes writes and the list of names can be served. Addresses need a resolver; they may come later."""
    checks = [_database(context), _access(context), *(_list(context, name) for name in ListName)]
    failed = [str(check["check"]) for check in checks if not check["is_ok"] and check["check"] not in MAY_COME_LATER]
    if failed:
        detail = f"Not ready: {', '.join(failed)}; see `checks`."
        raise Problem(Kind.NOT_READY, detail, {"Retry-After": str(RETRY_AFTER_S)}, {"checks": checks})
    return json_response({"status": "ready", "checks": checks})


METRICS_RESPONSE: dict[int | str, dict[str, Any]] = {
    200: {"description": "Metrics", "content": {"text/plain": {"schema": {"type": "string"}}}}
}


@router.get(
    "/metrics",
    response_class=Response,
    responses=METRICS_RESPONSE | problems(503),
)
def get_metrics(request: Request) -> Response:
    """Metrics in the Prometheus text format."""
    body = exposition(request.app.state.registry)
    return Response(body, 200, {"Content-Type": CONTENT_TYPE_LATEST, "Cache-Control": "no-store"})


def _database(context: ApiContext) -> dict[str, object]:
    is_ok = context.store.is_writable()
    return {"check": "database", "is_ok": is_ok, "detail": "writable" if is_ok else "not writable; see the log"}


def _access(context: ApiContext) -> dict[str, object]:
    is_ok = not context.access_error()
    detail = "in force" if is_ok else "the newest cannot be used, the one before stays; the log and the page say why"
    return {"check": ACCESS_FILE, "is_ok": is_ok, "detail": detail}


def _list(context: ApiContext, name: ListName) -> dict[str, object]:
    snapshot = context.snapshot(name)
    detail = f"serial {snapshot.serial}" if snapshot else "not built yet"
    return {"check": name.value, "is_ok": snapshot is not None, "detail": detail}


router.include_router(alive)
