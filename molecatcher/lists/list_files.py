"""The lists in force as files: a database that is lost takes neither the lists nor their numbers with it."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec
import structlog

from rules.lists.blocklist import ListName, Snapshot
from rules.lists.encoding import decode, encode
from rules.policy.profiles import DEFAULT_PROFILE

log = structlog.get_logger()


class _Head(msgspec.Struct, frozen=True):
    """The first line of a file; the list follows as `rules.lists.encoding.encode` writes it."""

    list_name: ListName
    serial: int
    created_at_ns: int
    digest: str
    profile: str


class ListFiles:
    """One file a list and profile below `folder`, replaced whole (rename(2))."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def load(self, profiles: Iterable[str] = (DEFAULT_PROFILE,)) -> Iterator[Snapshot]:
        """Yield the snapshots that can be read; a damaged file is said and left where it is."""
        for path in (self._path(name, profile) for profile in profiles for name in ListName):
            try:
                yield _read(path)
            except FileNotFoundError:
                continue
            except (OSError, msgspec.MsgspecError) as error:
                log.warning("list_file_unreadable", path=str(path), error=str(error))

    def save(self, snapshot: Snapshot, stored: bytes | None = None) -> None:
        """Keep `snapshot`, `stored` if it is encoded already; a disk that refuses is said, the database has it too."""
        path = self._path(snapshot.list_name, snapshot.profile)
        temporary = path.with_suffix(".tmp")
        values = (getattr(snapshot, name) for name in _Head.__struct_fields__)
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            with temporary.open("wb") as file:
                file.write(msgspec.json.encode(_Head(*values)) + b"\n")
                file.write(stored if stored is not None else encode(snapshot.body))
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except OSError as error:
            log.warning("list_file_not_written", path=str(path), error=str(error))

    def _path(self, name: ListName, profile: str) -> Path:
        return self._folder / (f"{name}.json" if profile == DEFAULT_PROFILE else f"{name}.{profile}.json")


def _read(path: Path) -> Snapshot:
    """Return the snapshot in a file, also in one from before there were profiles, which is a single object of JSON."""
    head, divider, stored = path.read_bytes().partition(b"\n")
    if not divider:
        return msgspec.json.decode(head, type=Snapshot)
    fields = msgspec.structs.asdict(msgspec.json.decode(head, type=_Head))
    return Snapshot(**fields, body=decode(stored))
