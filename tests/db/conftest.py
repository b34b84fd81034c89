from collections.abc import Iterator
from pathlib import Path

import pytest
from stored_events import received

from db.store import Store, open_store


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "molecatcher.db"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    with open_store(path, now_ns=received) as opened:
        yield opened
