"""What requests note in memory is written in the background, and the last word when the server ends."""

import asyncio
import time

import httpx
from access_server import serving
from installation import SECOND_NS, Installation, add_token

from api.access.config import AccessConfig
from api.deferred import writing


def test_it_is_written_again_and_again_and_in_the_end() -> None:
    calls: list[float] = []

    async def run() -> None:
        loop, is_enough = asyncio.get_running_loop(), asyncio.Event()

        def write() -> None:
            calls.append(time.monotonic())
            if len(calls) == 3:
                loop.call_soon_threadsafe(is_enough.set)

        async with writing((write,), every_s=0.01):
            await asyncio.wait_for(is_enough.wait(), 10)
            calls.clear()

    asyncio.run(run())
    assert calls, "once more in the end"


def test_no_pull_writes_and_the_last_use_is_kept(installation: Installation) -> None:
    installation.publish_both()
    token = {"X-Api-Key": add_token(installation.store)}

    def pull(client: httpx.Client) -> None:
        assert client.get("/feeds/unsanctioned-domains.txt", headers=token).status_code == 200

    with serving(installation, AccessConfig(require=True)) as client:
        for _ in range(3):
            pull(client)
            installation.now_ns += 15 * SECOND_NS
        pull(client)
        last_ns = installation.now_ns
        assert [row.last_used_ns for row in installation.store.tokens()] == [None]
        assert installation.store.pulls(9) == []
    assert [row.last_used_ns for row in installation.store.tokens()] == [last_ns]
    assert [row.pulls for row in installation.store.pulls(9)] == [4]
