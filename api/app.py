"""The application: routes, middleware, error answers and OpenAPI, put together for one context."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import structlog
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from api.access.credentials import Credentials
from api.answers import answer_database, answer_http_exception, answer_invalid, answer_problem
from api.boundary import RequestBoundary
from api.context import ApiContext
from api.decisions import DecisionStream
from api.feeds.collections import Collections
from api.feeds.publication import Publication
from api.guard import RequestGuard
from api.metrics import RequestMetrics, make_registry
from api.openapi import describe_problems
from api.page.overview import KeptChart
from api.page.templates import make_templates
from api.problems import Problem
from api.pull_log import ConsumerStates, PullLog
from api.routes import (
    consumers,
    decisions,
    demonstration,
    event_streams,
    events,
    feeds,
    findings,
    health,
    lists,
    misp,
    pages,
    policy,
    sensors,
    services,
    taxii,
)
from api.static_files import STATIC_PATH, make_static_files
from api.tail import EventTail
from db.errors import DbError

DESCRIPTION = """
Molecatcher watches egress traffic for tunnels. This API answers who runs one, since when, how that is known, whether
it got through, and serves block lists to firewalls.

Times are RFC 3339 UTC. Errors are `application/problem+json` (RFC 9457). Lists are paged by an opaque `cursor`; the
`Link` header (RFC 8288) holds the address of the next page.
"""
log = structlog.get_logger("api")


def create_app(context: ApiContext) -> FastAPI:
    """Return the application that answers from `context`."""
    app = FastAPI(
        title="Molecatcher",
        version=context.version,
        description=DESCRIPTION,
        openapi_url="/v1/openapi.json",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=_lifespan,
    )
    _answer_errors(app)
    pulls = PullLog(context.store, context.now_ns)
    states = ConsumerStates(context.store, context.snapshot, pulls, context.behind_after_ns)
    registry = make_registry(context, states)
    app.state.context = context
    app.state.needs_credential = False
    app.state.credentials = Credentials(context.store, context.now_ns)
    app.state.publication = Publication(context.snapshot)
    app.state.collections = Collections(context.snapshot)
    app.state.pulls = pulls
    app.state.consumers = states
    app.state.registry = registry
    app.state.tail = EventTail(context.store)
    app.state.decisions = DecisionStream(partial(decisions.earlier_bodies, context))
    app.state.kept_chart = KeptChart()
    app.state.templates = make_templates(context.version)
    app.add_middleware(RequestGuard)
    app.state.metrics = RequestMetrics(registry)
    app.add_middleware(RequestBoundary, metrics=app.state.metrics)
    readers = (
        feeds,
        decisions,
        lists,
        consumers,
        taxii,
        misp,
    )  # first those that are asked most: routes are tried in turn
    for module in (*readers, event_streams, events, findings, services, sensors, policy, demonstration, health, pages):
        app.include_router(module.router)
    app.mount(STATIC_PATH, make_static_files(), name="static")
    describe_problems(app)
    return app


def create_feed_app(main: FastAPI) -> FastAPI:
    """Return the application for other hosts: the lists of `main`, each with a credential, `/healthz`, nothing else."""
    app = FastAPI(title="Molecatcher", version=main.version, openapi_url=None, docs_url=None, redoc_url=None)
    app.router.redirect_slashes = False
    _answer_errors(app)
    app.state.needs_credential = True
    for shared in ("context", "credentials", "publication", "collections", "decisions", "pulls"):
        setattr(app.state, shared, getattr(main.state, shared))
    app.add_middleware(RequestGuard, only_loopback=False)
    app.add_middleware(RequestBoundary, metrics=main.state.metrics)
    for router in (feeds.router, decisions.router, taxii.router, misp.router, health.alive):
        app.include_router(router)
    return app


def _answer_errors(app: FastAPI) -> None:
    app.exception_handler(Problem)(answer_problem)
    app.exception_handler(HTTPException)(answer_http_exception)
    app.exception_handler(RequestValidationError)(answer_invalid)
    app.exception_handler(DbError)(answer_database)


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    log.info("api_started", version=app.version)
    yield
    app.state.credentials.flush()
    app.state.pulls.flush()
    log.info("api_stopped")
