"""Writes to the database what requests only note in memory, so that no answer waits for it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress

from starlette.concurrency import run_in_threadpool

WRITE_S = 10.0


@asynccontextmanager
async def writing(writers: Sequence[Callable[[], None]], every_s: float = WRITE_S) -> AsyncIterator[None]:
    """Call `writers` in a thread every `every_s` seconds until the context ends, and once more then.

    One may be called while it still runs: the last time does not wait for the one before.
    """
    task = asyncio.create_task(_write_regularly(writers, every_s))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await run_in_threadpool(_write, writers)


async def _write_regularly(writers: Sequence[Callable[[], None]], every_s: float) -> None:
    while True:
        await asyncio.sleep(every_s)
        await run_in_threadpool(_write, writers)


def _write(writers: Sequence[Callable[[], None]]) -> None:
    for write in writers:
        write()
