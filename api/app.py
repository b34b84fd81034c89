"""The application: routes, middleware, error answers and OpenAPI, put together for one context."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from threading import BoundedSemaphore

import structlog
from fastapi import Depends, FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute, iter_route_contexts
from prometheus_client import Counter
from starlette.exceptions import HTTPException

from api.access.config import AccessConfig
from api.access.control import AccessControl
from api.access.credentials import Credentials
from api.access.gate import authorize
from api.access.oidc import OidcClient
from api.access.proxies import TrustedProxies, is_trusted
from api.access.refusals import Refusals
from api.access.sessions import Sessions
from api.access.table import require_complete
from api.context import ApiContext
from api.deferred import writing
from api.feeds.collections import Collections
from api.feeds.decisions import DecisionStream
from api.feeds.publication import Publication
from api.feeds.pull_log import ConsumerStates, PullLog
from api.metrics import RequestMetrics, make_registry
from api.middleware.answers import answer_database, answer_http_exception, answer_invalid, answer_problem
from api.middleware.boundary import RequestBoundary
from api.middleware.guard import RequestGuard
from api.middleware.idempotency import IdempotentRequests
from api.openapi import describe
from api.page.overview import KeptCounts
from api.page.templates import make_templates
from api.policy.sensor_rules import SensorRules
from api.problems import Problem
from api.pseudonyms import Pseudonyms
from api.routes import (
    audit,
    blocked,
    consumers,
    decisions,
    demonstration,
    enrol,
    event_streams,
    events,
    exceptions,
    feeds,
    findings,
    health,
    inbound,
    ingest,
    lists,
    me,
    misp,
    outputs,
    pages,
    policy,
    profiles,
    sanctioned,
    searches,
    sensors,
    services,
    sessions,
    sign_in,
    taxii,
    tokens,
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


def create_app(context: ApiContext, config: AccessConfig | None = None) -> FastAPI:
    """Return the application that answers from `context`; without `config` whoever is on this host's loopback may."""
    config = config or AccessConfig()
    app = FastAPI(
        title="Molecatcher",
        version=context.version,
        description=DESCRIPTION,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=_lifespan,
        dependencies=[Depends(authorize)],
    )
    _answer_errors(app)
    pulls = PullLog(context.store, context.now_ns)
    states = ConsumerStates(context.store, context.snapshot, pulls, context.behind_after_ns)
    registry = make_registry(context, states)
    app.state.context = context
    app.state.trusts_loopback = True
    kept_sessions = Sessions(context.store, context.now_ns, config.sessions)
    app.state.access = control = AccessControl(config, Credentials(context.store, context.now_ns), kept_sessions)
    app.state.refusals = Refusals(context.store, context.now_ns)
    app.state.oidc = _provider_of(config, context)
    app.state.break_glass_uses = Counter(
        "molecatcher_break_glass_sign_ins", "Sign-ins with the break-glass account", registry=registry
    )
    app.state.batches = BoundedSemaphore(ingest.AT_ONCE)
    app.state.publication = Publication(context.snapshot)
    app.state.collections = Collections(context.snapshot)
    app.state.pulls = pulls
    app.state.consumers = states
    app.state.registry = registry
    app.state.pseudonyms = Pseudonyms(context.name_key)
    app.state.sensor_rules = SensorRules(context)
    stalled = Counter(
        "molecatcher_streams_cut_off", "Streams whose client took nothing for a minute", registry=registry
    )
    app.state.tail = EventTail(context.store, stalled.inc)
    app.state.decisions = DecisionStream(partial(decisions.earlier_bodies, context))
    app.state.kept_counts = KeptCounts()
    app.state.templates = make_templates(context.version)
    app.add_middleware(IdempotentRequests)
    app.add_middleware(RequestGuard, hosts=lambda: control.config.host_names)
    app.state.metrics = RequestMetrics(registry)
    _add_outermost(app, control, app.state.metrics)
    readers = (feeds, decisions, lists, profiles, consumers, taxii, misp)
    workflow = (findings, sanctioned, exceptions, services, blocked, searches, outputs, inbound)
    watchers = (event_streams, events, *workflow, sensors, policy, demonstration)
    access = (me, tokens, audit, sessions, sign_in, enrol, ingest)
    for module in (*readers, *watchers, health, pages, *access):  # tried in turn: readers ask most
        app.include_router(module.router)
    require_complete(routes_of(app))
    app.mount(STATIC_PATH, make_static_files(), name="static")
    describe(app)
    return app


def create_feed_app(main: FastAPI) -> FastAPI:
    """Return the application for other hosts: the lists of `main`, each with a credential, `/healthz`, nothing else."""
    app = FastAPI(
        title="Molecatcher",
        version=main.version,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        dependencies=[Depends(authorize)],
    )
    app.router.redirect_slashes = False
    _answer_errors(app)
    app.state.trusts_loopback = False
    for shared in ("context", "access", "refusals", "publication", "collections", "decisions", "pulls"):
        setattr(app.state, shared, getattr(main.state, shared))
    app.add_middleware(RequestGuard, hosts=None)
    _add_outermost(app, main.state.access, main.state.metrics)
    for router in (feeds.router, decisions.router, taxii.router, misp.router, health.alive):
        app.include_router(router)
    return app


def _provider_of(config: AccessConfig, context: ApiContext) -> OidcClient | None:
    if config.oidc is None:
        return None
    redirect_uri = f"{(config.public_url or '').rstrip('/')}/sign-in/callback"
    return OidcClient(config.oidc, redirect_uri, config.step_up, context.cursor_secret, context.now_ns)


def change_access(app: FastAPI, config: AccessConfig) -> None:
    """Judge requests by another configuration from now on: also of the application for other hosts' lists."""
    control: AccessControl = app.state.access
    before, context = control.config, app.state.context
    if (config.oidc, config.public_url, config.step_up) != (before.oidc, before.public_url, before.step_up):
        app.state.oidc = _provider_of(config, context)
    control.change(config)


def is_proxy(app: FastAPI, address: str) -> bool:
    """Tell whether an address is that of a proxy which the access file of now trusts."""
    config = app.state.access.config.proxy
    return config is not None and is_trusted(address, config)


def _add_outermost(app: FastAPI, control: AccessControl, metrics: RequestMetrics) -> None:
    """Let proxies say who asks, inside of what answers their mistakes."""
    app.add_middleware(TrustedProxies, config=lambda: control.config.proxy)
    app.add_middleware(RequestBoundary, metrics=metrics)


def routes_of(app: FastAPI) -> Iterator[tuple[str, str]]:
    """Yield method and path of every route."""
    for found in iter_route_contexts(app.routes):
        route = found.original_route
        if isinstance(route, APIRoute):
            yield from ((method, found.path or route.path) for method in route.methods or ())


def _answer_errors(app: FastAPI) -> None:
    app.exception_handler(Problem)(answer_problem)
    app.exception_handler(HTTPException)(answer_http_exception)
    app.exception_handler(RequestValidationError)(answer_invalid)
    app.exception_handler(DbError)(answer_database)


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    log.info("api_started", version=app.version)
    state = app.state
    async with writing((state.access.credentials.flush, state.pulls.flush, state.refusals.flush)):
        yield
    state.refusals.close()
    log.info("api_stopped")
