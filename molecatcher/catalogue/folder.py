"""The catalogue in force: what came with the program or a later update, with the organisation's own additions.

    STATE/catalogue/in_force.json       which update is in force, which one was before it
    STATE/catalogue/VERSION-DIGEST.json an update; its signature was checked when it was taken
    STATE/catalogue.d/*.toml            additions (MOLECATCHER_CATALOGUE_DIR)

What came with the program counts again once it is newer than the update, unless the older one was asked for.
"""

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from molecatcher.catalogue.bundles import SIGNATURE_SUFFIX, unpack
from molecatcher.errors import CatalogueError, FetchError
from molecatcher.state import default_state, give, make_service_state
from rules.catalogue.catalogue import Catalogue, build_catalogue, load_catalogue, read_files, version_key
from rules.errors import InvalidCatalogue

MAX_ADDITIONS, MAX_ADDITION_OCTETS = 1024, 1 << 20
Stamp = tuple[tuple[str, int, int, int], ...]


class Chosen(msgspec.Struct, frozen=True):
    """Which files are in force and were before; empty: what came with the program. `is_wanted`: however old it is."""

    current: str = ""
    previous: str = ""
    is_wanted: bool = False


class CatalogueFolder:
    """The catalogue below a state directory."""

    def __init__(self, state: Path | None = None, additions: Path | None = None) -> None:
        """Take the state directory, and where additions lie; None: as the environment says, else the usual ones."""
        self.state = state or Path(os.environ.get("MOLECATCHER_STATE") or default_state())
        own = additions or os.environ.get("MOLECATCHER_CATALOGUE_DIR")
        self.additions = Path(own) if own else self.state / "catalogue.d"
        self.folder = self.state / "catalogue"
        self._in_force = self.folder / "in_force.json"

    def load(self) -> Catalogue:
        """Return the catalogue in force.

        Raises:
            InvalidCatalogue: an update or an addition cannot be used; the message says what to do.
        """
        return self._with_own(self.update())

    def build(self, files: Mapping[str, str]) -> Catalogue:
        """Return what would be in force with the files of an update.

        Raises:
            InvalidCatalogue: the update is wrong, or an addition does not fit it.
        """
        return self._with_own(files)

    def load_with(self, more: Sequence[Path]) -> tuple[Catalogue, set[str]]:
        """Return the catalogue in force with more additions, and the ids of the services that these touch.

        Raises:
            InvalidCatalogue: a file cannot be used.
        """
        additions = self._read_additions()
        before = self._build(self.update(), additions)
        files = _read_texts(more)
        for name in files:
            additions.pop(name, None)
        tested = self._build(self.update(), {**additions, **files})
        touched = {row.id for row in tested.services.values() if row != before.services.get(row.id)}
        return tested, touched or {Path(name).stem for name in files}

    def _with_own(self, update: Mapping[str, str] | None) -> Catalogue:
        additions = self._read_additions()
        try:
            return self._build(update, additions)
        except InvalidCatalogue as error:
            if str(error).partition(":")[0] in additions:
                raise InvalidCatalogue(f"{self.additions}/{error}") from None
            raise

    def _build(self, update: Mapping[str, str] | None, additions: Mapping[str, str]) -> Catalogue:
        return build_catalogue(read_files() if update is None else update, additions, is_updated=update is not None)

    def update(self) -> dict[str, str] | None:
        """Return the files of the update in force, None where what came with the program is.

        Raises:
            InvalidCatalogue: it cannot be read.
        """
        chosen = self.chosen()
        if not chosen.current:
            return None
        advice = "`molecatcher catalogue rollback` takes the one before"
        try:
            files = unpack((self.folder / chosen.current).read_bytes(), chosen.current)
            update, shipped = build_catalogue(files), load_catalogue()
        except (OSError, CatalogueError, InvalidCatalogue) as error:
            raise InvalidCatalogue(f"the catalogue update in {self.folder} cannot be used: {error}; {advice}") from None
        is_older = version_key(update.version) < version_key(shipped.version)
        return files if not is_older or chosen.is_wanted else None

    def chosen(self) -> Chosen:
        """Return which update was chosen.

        Raises:
            InvalidCatalogue: the note of it cannot be read.
        """
        try:
            return msgspec.json.decode(self._in_force.read_bytes(), type=Chosen)
        except FileNotFoundError:
            return Chosen()
        except (OSError, msgspec.MsgspecError) as error:
            is_damaged = isinstance(error, msgspec.MsgspecError)
            advice = "remove it to have what came with the program" if is_damaged else "run this as its owner"
            raise InvalidCatalogue(f"{self._in_force} cannot be read ({error}); {advice}") from None

    def stamp(self) -> Stamp:
        """Return what changes when the catalogue in force may have. Costs a `stat` for each addition."""
        paths = [self._in_force, *self._addition_paths()]
        return tuple(_stamp(path) for path in paths)

    def signed_update(self) -> tuple[bytes, bytes] | None:
        """Return the update in force and its signature; None where there is none, or it came without.

        Raises:
            InvalidCatalogue: the note of what is in force cannot be read.
        """
        name = self.chosen().current
        try:
            path = self.folder / name
            return (path.read_bytes(), path.with_name(f"{name}{SIGNATURE_SUFFIX}").read_bytes()) if name else None
        except OSError:
            return None

    def install(self, octets: bytes, version: str, *, is_wanted: bool, signature: bytes = b"") -> None:
        """Put a bundle into force at once and whole; the one before is kept, older ones go.

        Its `signature` is kept for sensors on other hosts.

        Raises:
            CatalogueError: the state directory cannot be written.
        """
        name = f"{version}-{hashlib.sha256(octets).hexdigest()[:12]}.json"
        before = self.chosen().current
        with self._writing():
            self._write(self.folder / name, octets)
            if signature:
                self._write(self.folder / f"{name}{SIGNATURE_SUFFIX}", signature)
            previous = self.chosen().previous if before == name else before
            self._choose(Chosen(name, previous, is_wanted))
            for path in self.folder.glob("*-*.json*"):
                if path.name.removesuffix(SIGNATURE_SUFFIX) not in (name, previous):
                    path.unlink(missing_ok=True)

    def roll_back(self) -> None:
        """Put the one before back into force; once more returns to the newer.

        Raises:
            CatalogueError: there was none, or the state directory cannot be written.
        """
        if not self._in_force.exists():
            raise CatalogueError("there is no catalogue before this one: none was ever updated")
        chosen = self.chosen()
        with self._writing():
            self._choose(Chosen(chosen.previous, chosen.current, is_wanted=True))

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Make the folder; what is written becomes the owner's of the state directory, who is not root."""
        try:
            make_service_state(self.state)
            self.folder.mkdir(exist_ok=True, mode=0o700)
            give(self.folder, self.state)
            yield
        except OSError as error:
            raise CatalogueError(f"{self.folder} cannot be written: {error.strerror}; run this as its owner") from None
        except FetchError as error:
            raise CatalogueError(str(error)) from None

    def _choose(self, chosen: Chosen) -> None:
        self._write(self._in_force, msgspec.json.encode(chosen))

    def _write(self, path: Path, octets: bytes) -> None:
        from molecatcher.lists.fetch import replace_whole  # noqa: PLC0415 - brings TLS, slow to import

        replace_whole(path, octets)
        give(path, self.state)

    def _read_additions(self) -> dict[str, str]:
        paths = self._addition_paths()
        if len(paths) > MAX_ADDITIONS:
            raise InvalidCatalogue(f"{self.additions} holds more than {MAX_ADDITIONS} files: put them together")
        return _read_texts(paths)

    def _addition_paths(self) -> list[Path]:
        return sorted(self.additions.glob("[!.]*.toml"))


def _read_texts(paths: Iterable[Path]) -> dict[str, str]:
    """Return the text of additions by their name."""
    found = {}
    for path in paths:
        try:
            with path.open("rb") as file:
                octets = file.read(MAX_ADDITION_OCTETS + 1)
            found[path.name] = octets.decode("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidCatalogue(f"{path} cannot be read: {error}; save it as a readable UTF-8 file") from None
        if len(octets) > MAX_ADDITION_OCTETS:
            raise InvalidCatalogue(f"{path} has more than {MAX_ADDITION_OCTETS >> 20} MiB: it is no addition")
    return found


def _stamp(path: Path) -> tuple[str, int, int, int]:
    try:
        found = path.stat()
    except OSError:
        return str(path), 0, 0, 0
    return str(path), found.st_mtime_ns, found.st_size, found.st_ino
