"""New events for every open stream: the database is asked once a second, and once for streams that want the same.

Holds `MAX_KEPT` encoded pages of `PAGE_EVENTS`; a stream itself holds only where it stands.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import msgspec
from anyio import CapacityLimiter, to_thread

from api.problems import Kind, Problem
from api.veil import Veil
from db.store import Store
from db.values import EventFilter
from rules.values.event import to_document

POLL_S = 1.0
HEARTBEAT_S = 15.0
PAGE_EVENTS = 200
MAX_KEPT = 64
READERS = 4
MAX_STREAMS = 1024
RETRY_AFTER_S = 30

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a stream wants, and how it is shown; streams of equal ones share their pages."""

    events: EventFilter
    veil: Veil


@dataclass(frozen=True, slots=True)
class Page:
    """Encoded events after some place in the order of commits, and the place up to which nothing else is wanted."""

    frames: bytes
    last_seq: int


class EventTail:
    """Hands new events to any number of streams; `on_stall` is called for each that is cut off."""

    def __init__(self, store: Store, on_stall: Callable[[], object]) -> None:
        self._store = store
        self.on_stall = on_stall
        self._pages: dict[tuple[int, Wanted, int], asyncio.Future[Page]] = {}
        self._newest: asyncio.Future[int] | None = None
        self._asked_at_s = 0.0
        self._readers = CapacityLimiter(READERS)
        self._streams = 0

    @contextmanager
    def place(self) -> Iterator[None]:
        """Hold the place of one stream.

        Raises:
            Problem: All `MAX_STREAMS` are taken.
        """
        if self._streams >= MAX_STREAMS:
            detail = f"{MAX_STREAMS} streams are open, which is all there is room for; close some or try again later."
            raise Problem(Kind.TOO_MANY_STREAMS, detail, {"Retry-After": str(RETRY_AFTER_S)})
        self._streams += 1
        try:
            yield
        finally:
            self._streams -= 1

    async def newest(self) -> int:
        """Return the place of the newest commit, not older than `POLL_S`."""
        now_s = time.monotonic()
        if self._newest is None or now_s - self._asked_at_s >= POLL_S:
            self._asked_at_s = now_s
            self._newest = asyncio.ensure_future(self._ask(self._store.last_ingest_seq))
        return await asyncio.shield(self._newest)

    async def follow(self, after: int, wanted: Wanted, is_stopping: Callable[[], bool]) -> AsyncIterator[bytes]:
        """Yield server-sent events after the place `after`, and a sign of life while there are none.

        Raises:
            DbError: The database does not answer; the client comes back with the last id it got.
        """
        silent_since_s = time.monotonic()
        while not is_stopping():
            newest = await self.newest()
            if newest > after:
                page = await self._page(after, wanted, newest)
                after = page.last_seq
                if page.frames:
                    silent_since_s = time.monotonic()
                    yield page.frames
                    continue
            if time.monotonic() - silent_since_s >= HEARTBEAT_S:
                silent_since_s = time.monotonic()
                yield b": still here\nid: %d\n\n" % after
            await asyncio.sleep(POLL_S)

    async def _page(self, after: int, wanted: Wanted, newest: int) -> Page:
        key = (after, wanted, newest)
        reading = self._pages.get(key)
        if reading is None:
            while len(self._pages) >= MAX_KEPT:
                del self._pages[next(iter(self._pages))]
            reading = self._pages[key] = asyncio.ensure_future(self._ask(partial(self._read, *key)))
            reading.add_done_callback(partial(self._forget_failure, key))
        return await asyncio.shield(reading)

    def _forget_failure(self, key: tuple[int, Wanted, int], reading: "asyncio.Future[Page]") -> None:
        if reading.cancelled() or reading.exception() is not None:
            self._pages.pop(key, None)

    def _read(self, after: int, wanted: Wanted, newest: int) -> Page:
        found = self._store.ingested_after(after, PAGE_EVENTS, wanted.events)
        frames = b"".join(
            b"event: event\nid: %d\ndata: %b\n\n"
            % (row.ingest_seq, msgspec.json.encode(to_document(wanted.veil.event(row.event))))
            for row in found
        )
        last_seq = found[-1].ingest_seq if found else newest
        return Page(frames, last_seq if len(found) == PAGE_EVENTS else max(newest, last_seq))

    def _ask(self, question: Callable[[], Answer]) -> Awaitable[Answer]:
        return to_thread.run_sync(question, limiter=self._readers)
