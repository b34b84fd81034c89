from collections.abc import Iterator
from pathlib import Path

import pytest
from empty_store import empty_store

from db.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with empty_store(tmp_path / "molecatcher.db") as opened:
        yield opened
