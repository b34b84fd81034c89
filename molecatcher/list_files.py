"""The lists in force as files: a database that is lost takes neither the lists nor their numbers with it."""

import os
from collections.abc import Iterator
from pathlib import Path

import msgspec
import structlog

from rules.blocklist import ListName, Snapshot

log = structlog.get_logger()


class ListFiles:
    """One file a list below `folder`, replaced whole (rename(2))."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def load(self) -> Iterator[Snapshot]:
        """Yield the snapshots that can be read; a damaged file is said and left where it is."""
        for name in ListName:
            try:
                yield msgspec.json.decode(self._path(name).read_bytes(), type=Snapshot)
            except FileNotFoundError:
                continue
            except (OSError, msgspec.MsgspecError) as error:
                log.warning("list_file_unreadable", path=str(self._path(name)), error=str(error))

    def save(self, snapshot: Snapshot) -> None:
        """Keep `snapshot`; a disk that refuses is said, the database has it too."""
        path = self._path(snapshot.list_name)
        temporary = path.with_suffix(".tmp")
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            with temporary.open("wb") as file:
                file.write(msgspec.json.encode(snapshot))
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except OSError as error:
            log.warning("list_file_not_written", path=str(path), error=str(error))

    def _path(self, name: ListName) -> Path:
        return self._folder / f"{name}.json"
