"""Lines of a log file that grows and is rotated, with a position to go on from after a restart.

The position says which file it was (device, inode and a digest of how it begins) and how far it was read. A file that
was renamed away is read to its end before its successor is begun; one that was cut (copytruncate) is read from its
start. What is lost: lines written to a renamed file while nobody followed, once its name is taken by another.
"""

import gzip
import os
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import IO

import msgspec

from molecatcher.errors import MolecatcherError

MAX_LINE_OCTETS = 65_536
READ_OCTETS = 1 << 20
BEGINNING_OCTETS = 256
_GZIP_MAGIC = b"\x1f\x8b"


class Position(msgspec.Struct, frozen=True):
    """How far a file was read: `offset` octets of the file whose first `beginning` octets have that digest."""

    device: int
    inode: int
    offset: int
    beginning: int
    digest: str


class LogFollower:
    """One log file. `batches` gives what is there; call it again for what was added. Holds 1 MiB and one line."""

    def __init__(self, path: Path, position: Position | None = None) -> None:
        """Open `path` where `position` says, at its start when that speaks of another file.

        Raises:
            MolecatcherError: the file cannot be read.
        """
        self.path = path
        self.too_long = 0
        self._file = _open(path)
        self._offset = 0
        self._rest = b""
        self._skips = False
        if position is not None and _is_same(self._file, position):
            self._offset = position.offset

    def batches(self) -> Iterator[list[bytes]]:
        """Yield the lines that are complete, without their ends; what is too long for a line is counted and left out.

        `position` is true after each batch.
        """
        while True:
            yield from self._read()
            if not self._has_successor():
                return
            yield from self._read()  # what was written between the end and the change
            yield from self._last()
            self._file.close()
            self._file, self._offset, self._rest = _open(self.path), 0, b""

    def position(self) -> Position:
        """Return where the next line begins."""
        status = os.fstat(self._file.fileno())
        done = self._offset - len(self._rest)
        beginning = min(BEGINNING_OCTETS, done)
        return Position(status.st_dev, status.st_ino, done, beginning, _digest(self._file, beginning))

    def progress(self) -> tuple[int, int]:
        """Return octets read and octets there are."""
        return self._offset, os.fstat(self._file.fileno()).st_size

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _read(self) -> Iterator[list[bytes]]:
        if os.fstat(self._file.fileno()).st_size < self._offset:
            self._offset, self._rest = 0, b""
        while block := os.pread(self._file.fileno(), READ_OCTETS, self._offset):
            self._offset += len(block)
            *complete, self._rest = (self._rest + block).split(b"\n")
            lines = self._whole(complete)
            self._shorten()
            yield lines

    def _whole(self, complete: list[bytes]) -> list[bytes]:
        lines = []
        for line in complete:
            if self._skips or len(line) > MAX_LINE_OCTETS:
                self.too_long += 1
                self._skips = False
            elif line:
                lines.append(line.rstrip(b"\r"))
        return lines

    def _shorten(self) -> None:
        """Let go of a line that is already too long; the rest of it is passed over as it comes."""
        if len(self._rest) > MAX_LINE_OCTETS:
            self._rest = self._rest[:1]
            self._skips = True

    def _last(self) -> Iterator[list[bytes]]:
        if self._rest and not self._skips:
            yield [self._rest]
        self._rest, self._skips = b"", False

    def _has_successor(self) -> bool:
        try:
            there = self.path.stat()
        except OSError:
            return False
        here = os.fstat(self._file.fileno())
        return (there.st_dev, there.st_ino) != (here.st_dev, here.st_ino)


def read_whole(stream: IO[bytes], on_too_long: Callable[[], None]) -> Iterator[bytes]:
    """Yield the lines of a stream to its end, gzip undone; of each that is too long `on_too_long` is told instead."""
    beginning = stream.peek(2)[:2] if hasattr(stream, "peek") else b""
    source = gzip.GzipFile(fileobj=stream) if beginning == _GZIP_MAGIC else stream
    skips = False
    while line := source.readline(MAX_LINE_OCTETS + 1):
        is_end = line.endswith(b"\n")
        if not skips and not is_end and len(line) > MAX_LINE_OCTETS:
            on_too_long()
        elif not skips:
            yield line.rstrip(b"\r\n")
        skips = not is_end


def _open(path: Path) -> IO[bytes]:
    try:
        return path.open("rb", buffering=0)
    except OSError as error:
        raise MolecatcherError(f"{path} cannot be read: {error.strerror}") from error


def _is_same(file: IO[bytes], position: Position) -> bool:
    status = os.fstat(file.fileno())
    is_file = (status.st_dev, status.st_ino) == (position.device, position.inode)
    return is_file and status.st_size >= position.offset and _digest(file, position.beginning) == position.digest


def _digest(file: IO[bytes], octets: int) -> str:
    return sha256(os.pread(file.fileno(), octets, 0)).hexdigest()
