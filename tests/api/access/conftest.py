"""An installation that asks everybody who they are, also on loopback."""

from collections.abc import Iterator

import httpx
import pytest
from access_server import serving
from installation import Installation

from api.access.config import AccessConfig


@pytest.fixture
def closed(installation: Installation) -> Iterator[httpx.Client]:
    with serving(installation, AccessConfig(require=True)) as client:
        yield client
