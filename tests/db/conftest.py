from collections.abc import Iterator
from pathlib import Path

import pytest
from empty_store import empty_store
from stored_events import received

from db.store import Store


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "molecatcher.db"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    with empty_store(path, now_ns=received) as opened:
        yield opened
