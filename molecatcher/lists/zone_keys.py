"""Keys of zone transfers as files of the state directory. TSIG needs them as they are: only their owner reads them."""

import os
from collections.abc import Iterator
from pathlib import Path

import msgspec
import structlog

from api.zone.keys import Keyring, ZoneKey, tsig_key
from molecatcher.errors import SetupError
from molecatcher.state import give, make_service_state

log = structlog.get_logger()

MAX_KEYS = 1000
SUFFIX = ".json"


class ZoneKeyFiles:
    """One file a key below `folder`."""

    def __init__(self, folder: Path) -> None:
        self.keyring = Keyring()
        self._folder = folder
        self._seen: object = None

    def poll(self) -> None:
        """Take up what changed; a key that cannot be used is said and left out."""
        seen = [(path.name, path.stat().st_mtime_ns) for path in self._paths()]
        if seen != self._seen:
            self._seen = seen
            self.keyring = Keyring(self.load())

    def load(self) -> Iterator[ZoneKey]:
        """Yield the keys that can be used, by name."""
        for path in self._paths():
            try:
                key = msgspec.json.decode(path.read_bytes(), type=ZoneKey)
                Keyring([key])
            except (OSError, ValueError) as error:
                log.warning("zone_key_unusable", path=str(path), error=type(error).__name__)
            else:
                yield key

    def add(self, key: ZoneKey) -> None:
        """Keep a new key.

        Raises:
            SetupError: its name cannot be used or is taken, there are too many, or the disk refuses.
        """
        try:
            tsig_key(key)
            make_service_state(self._folder.parent)
            self._folder.mkdir(exist_ok=True, mode=0o700)
            if len(self._paths()) >= MAX_KEYS:
                raise SetupError(f"there are {MAX_KEYS} keys already: remove some")
            descriptor = os.open(self._path(key.name), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(msgspec.json.encode(key))
            for made in (self._folder, self._path(key.name)):
                give(made, self._folder.parent)
        except ValueError as error:
            raise SetupError(str(error)) from None
        except FileExistsError:
            raise SetupError(f"there is a key {key.name!r} already: remove it, or take another name") from None
        except OSError as error:
            raise SetupError(f"{self._folder} cannot be used: {error.strerror}") from error

    def remove(self, name: str) -> bool:
        """Remove a key; tell whether there was one."""
        is_there = name in {path.stem for path in self._paths()}
        if is_there:
            self._path(name).unlink(missing_ok=True)
        return is_there

    def _paths(self) -> list[Path]:
        return sorted(self._folder.glob(f"*{SUFFIX}"))

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}{SUFFIX}"
