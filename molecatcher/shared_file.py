"""A small value that one process writes and another reads: a file that is replaced as a whole (rename(2))."""

import os
from pathlib import Path
from typing import Generic, TypeVar

import msgspec
import structlog

log = structlog.get_logger()

LIMIT_OCTETS = 4 << 20
T = TypeVar("T")


class SharedFile(Generic[T]):
    """The file at `path`, JSON of type `kind`. To poll costs one `stat` while nothing changes."""

    def __init__(self, path: Path, kind: type[T]) -> None:
        self._path = path
        self._kind = kind
        self._stamp: tuple[int, int, int] | None = None

    def write(self, value: T) -> None:
        """Put `value` in place of what is there; a disk that refuses is said and the old value stays."""
        temporary = self._path.with_suffix(".tmp")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            temporary.write_bytes(msgspec.json.encode(value))
            temporary.replace(self._path)
        except OSError as error:
            log.warning("file_not_written", path=str(self._path), error=str(error))

    def poll(self) -> T | None:
        """Return the value if it is another than at the last poll; one that cannot be read is said and passed over."""
        try:
            found = os.stat(self._path)  # noqa: PTH116 - called twice a second
        except OSError:
            return None
        stamp = found.st_mtime_ns, found.st_size, found.st_ino
        if stamp == self._stamp:
            return None
        self._stamp = stamp
        try:
            if found.st_size > LIMIT_OCTETS:
                log.warning("file_too_large", path=str(self._path), octets=found.st_size)
                return None
            return msgspec.json.decode(self._path.read_bytes(), type=self._kind)
        except (OSError, msgspec.MsgspecError) as error:
            log.warning("file_unreadable", path=str(self._path), error=str(error))
            return None
