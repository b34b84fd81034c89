"""A second server of an installation, with an access configuration of its own."""

from collections.abc import Iterator
from contextlib import contextmanager

import httpx
from fastapi import FastAPI
from installation import Installation
from servers import running

from api.access.config import AccessConfig
from api.app import create_app
from api.serving.server import ApiServer, bind, parse_listen


@contextmanager
def serving(
    installation: Installation, config: AccessConfig, port: int = 0, *, app: FastAPI | None = None
) -> Iterator[httpx.Client]:
    """Yield a client of a second server of the installation, with this access configuration or of this application."""
    application = app or create_app(installation.context(), config)
    with (
        running(ApiServer(application, bind(parse_listen(f"127.0.0.1:{port}")))) as server,
        httpx.Client(base_url=f"http://{server.address}", timeout=60, trust_env=False) as client,
    ):
        yield client
