"""A durable queue between report and database: one file a batch, in a directory.

A file is named for its place in the queue, how many events it holds and, unless it is the first, the worker that wrote
it, so that what waits is known without reading it. Each worker of a sensor delivers its own; what a worker left that is
there no more, one of the others delivers.
A batch is written to a temporary file, synced and renamed, so that after `kill -9` or a power cut it is there whole or
not at all. It is removed once the store has acknowledged it; delivering twice is harmless, the store is idempotent.
When the limit is reached the oldest batches are kept and new ones are refused and counted.
"""

import heapq
import os
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from rules.values.event import Event
from sensor.errors import SensorError
from sensor.share import ALL, Share

LIMIT_OCTETS = 512 * 1024 * 1024
DISK_BLOCK_OCTETS = 4096
LISTED_AT_ONCE = 1024
SUFFIX = ".events"
DAMAGED_SUFFIX = ".damaged"


class SpoolFull(SensorError):
    """The batch does not fit: the limit is reached or the disk is full. Nothing was written."""


@dataclass(frozen=True, slots=True)
class Batch:
    """A spooled batch and the file that holds it."""

    path: Path
    events: tuple[Event, ...]


class Spool:
    """A worker's queue in `directory` (created with mode 0700). One writer; one reader may run in another thread.

    `append` costs one file of about 1 KiB an event and two syncs, however much waits; `waiting_octets` counts whole
    disk blocks. That and `waiting_events` are exact for this process's writes and removals.
    """

    def __init__(self, directory: Path, limit_octets: int = LIMIT_OCTETS, share: Share = ALL) -> None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.directory = directory
        self.limit_octets = limit_octets
        self.damaged = 0
        self._share = share
        self._lock = threading.Lock()
        for leftover in filter(self._is_own, directory.glob("*.tmp")):
            leftover.unlink()
        self._sequence = self._octets = self._events = 0
        for path in filter(self._is_own, directory.glob(f"*{SUFFIX}")):
            sequence, events, _ = _place(path)
            self._sequence = max(self._sequence, sequence)
            self._octets += _disk_octets(path.stat().st_size)
            self._events += events
        oldest = next(self._waiting(), None)
        self._oldest_ns = oldest.stat().st_mtime_ns if oldest is not None else 0

    @property
    def waiting_octets(self) -> int:
        """Return how much is waiting to be delivered, in octets."""
        return self._octets

    @property
    def waiting_events(self) -> int:
        """Return how many events wait to be delivered."""
        return self._events

    @property
    def oldest_ns(self) -> int | None:
        """Return since when the oldest batch has been waiting, None when nothing waits."""
        return self._oldest_ns if self._octets else None

    def append(self, events: Sequence[Event]) -> None:
        """Keep `events`; when this returns they survive the end of the process.

        Raises:
            SpoolFull: there is no room.
        """
        content = msgspec.json.encode(events)
        if self._octets + _disk_octets(len(content)) > self.limit_octets:
            raise SpoolFull(
                f"the spool {self.directory} holds its {self.limit_octets >> 20} MiB: is the database away?"
            )
        worker = f"-{self._share.worker}" if self._share.worker else ""
        path = self.directory / f"{self._sequence + 1:012d}-{len(events)}{worker}{SUFFIX}"
        try:
            _write_durably(path, content)
        except OSError as error:
            path.with_suffix(".tmp").unlink(missing_ok=True)
            raise SpoolFull(
                f"the spool {self.directory} cannot be written: {error.strerror}; free some space"
            ) from error
        self._sequence += 1
        self._account(path, _disk_octets(len(content)), is_there=True)

    def batches(self) -> Iterator[Batch]:
        """Yield what waits, oldest first. A file that cannot be read is set aside and counted, never deleted."""
        for path in self._waiting():
            self._oldest_ns = path.stat().st_mtime_ns
            try:
                yield Batch(path, msgspec.json.decode(path.read_bytes(), type=tuple[Event, ...]))
            except msgspec.MsgspecError:
                self.damaged += 1
                octets = _disk_octets(path.stat().st_size)
                path.rename(path.with_suffix(DAMAGED_SUFFIX))
                self._account(path, octets, is_there=False)

    def discard(self, batch: Batch) -> None:
        """Forget a batch that the store has acknowledged."""
        octets = _disk_octets(batch.path.stat().st_size)
        batch.path.unlink()
        self._account(batch.path, octets, is_there=False)

    def _waiting(self) -> Iterator[Path]:
        """Yield the files of all batches, oldest first; no more than `LISTED_AT_ONCE` paths are held in memory."""
        after = ""
        while True:
            names = (entry.name for entry in os.scandir(self.directory) if entry.name.endswith(SUFFIX))
            own = (name for name in names if name > after and self._is_own(Path(name)))
            oldest = heapq.nsmallest(LISTED_AT_ONCE, own)
            for name in oldest:
                yield self.directory / name
            if len(oldest) < LISTED_AT_ONCE:
                return
            after = oldest[-1]

    def _is_own(self, path: Path) -> bool:
        return self._share.has(_place(path)[2])

    def _account(self, path: Path, octets: int, *, is_there: bool) -> None:
        """Note that a batch came or went."""
        sign = 1 if is_there else -1
        with self._lock:
            if not self._octets:
                self._oldest_ns = time.time_ns()
            self._octets += sign * octets
            self._events += sign * _place(path)[1]


def _place(path: Path) -> tuple[int, int, int]:
    """Return a batch's place in the queue, how many events it holds, and which worker wrote it."""
    sequence, events, worker = (*path.stem.split("-"), "", "")[:3]
    return int(sequence), int(events or 0), int(worker or 0)


def _disk_octets(octets: int) -> int:
    """Return what a file of so many octets takes on disk; a spool of small files is bounded by it."""
    return -(-octets // DISK_BLOCK_OCTETS) * DISK_BLOCK_OCTETS


def _write_durably(path: Path, content: bytes) -> None:
    temporary = path.with_suffix(".tmp")
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(path)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
