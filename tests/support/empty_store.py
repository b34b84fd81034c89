"""Stores that are empty: copies of one file, because making the schema takes a quarter of a second."""

import shutil
import tempfile
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

from db.sql.engine import DEFAULT_BUSY_TIMEOUT_MS
from db.store import Store, open_store


def empty_store(
    path: Path, *, busy_timeout_ms: int = DEFAULT_BUSY_TIMEOUT_MS, now_ns: Callable[[], int] = time.time_ns
) -> Store:
    """Return the store in a new file at `path`."""
    shutil.copyfile(Path(_template().name) / "empty.db", path)
    return open_store(path, busy_timeout_ms=busy_timeout_ms, now_ns=now_ns)


@cache
def _template() -> tempfile.TemporaryDirectory[str]:
    folder = tempfile.TemporaryDirectory(prefix="molecatcher-empty-")
    with open_store(Path(folder.name) / "empty.db"):
        return folder
