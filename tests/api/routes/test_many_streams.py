"""A thousand streams, some that take nothing, and callers who mean ill: the API goes on answering in bounded memory."""

import asyncio
import os
import re
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import h11
import httpx
import pytest
from installation import NOW_NS, event_of, wait_until

from api.serving.streaming import STALLED_S
from db.store import Store, open_store
from rules.values.event import Event

STREAMS = 1000
STALLED = 100  # of them
RESUMED = 100  # of them, twice
EARLIER = 4000  # events, some 5 MB: more than the kernel takes for a client that reads nothing
LATER = 300
ANSWERED_S = 5.0
JSON = {"Content-Type": "application/json"}
ROOM_MIB = 200
SECOND_NS = 1_000_000_000
PROGRAM = Path(__file__).parents[2] / "support/serve_job.py"
ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module", autouse=True)
def _files() -> Iterator[None]:
    """Let this process hold its thousand sockets."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(4096, hard)), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path / "events.db") as opened:
        yield opened


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, int]]:
    """Yield the address of an API of the same store in a process of its own, and its number."""
    command: list[str | Path] = [sys.executable, PROGRAM, tmp_path / "events.db"]
    environment = os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests/support'}"}
    log = (tmp_path / "log").open("wb")
    with log, subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=log, text=True) as process:
        assert process.stdout
        address = process.stdout.readline().strip()
        wait_until(lambda: httpx.get(f"http://{address}/healthz", trust_env=False, timeout=60).status_code == 200)
        yield address, process.pid
        process.terminate()


def resident_mib(pid: int) -> float:
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(found[1]) / 1024


def events_of(count: int, first: int) -> list[Event]:
    return [event_of(observed_at_ns=NOW_NS + (first + at) * SECOND_NS) for at in range(count)]


class Stream:
    """A stream and the places of the events that it told of."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.places: list[int] = []
        self.is_open = asyncio.Event()
        self.begin()

    def begin(self) -> None:
        """Forget what a connection before this one left half told."""
        self._connection = h11.Connection(h11.CLIENT)
        self._rest = b""

    def request(self, after: int) -> bytes:
        """Return what asks for the events after a place."""
        headers = [("Host", self.address), ("Last-Event-ID", str(after))]
        asked = self._connection.send(h11.Request(method="GET", target="/v1/events/stream", headers=headers))
        return (asked or b"") + (self._connection.send(h11.EndOfMessage()) or b"")

    def take(self, octets: bytes) -> None:
        """Note the events in what came."""
        self._connection.receive_data(octets)
        while (found := self._connection.next_event()) is not h11.NEED_DATA:
            if isinstance(found, h11.Data):
                *frames, self._rest = (self._rest + found.data).split(b"\n\n")
                events = (frame.splitlines() for frame in frames if frame.startswith(b"event: event\n"))
                self.places += [int(lines[1].removeprefix(b"id: ")) for lines in events]

    async def read(self, until: int, after: int) -> None:
        """Take events up to the place `until`, over a connection that is closed then."""
        host, port = self.address.rsplit(":", 1)
        self.begin()
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(self.request(after))
        while not self.places or self.places[-1] < until:
            octets = await reader.read(65_536)
            assert octets, "the stream ended"
            self.is_open.set()
            self.take(octets)
        writer.close()


class StalledStream(Stream):
    """One that asks for everything there is and takes nothing of it."""

    def __init__(self, address: str) -> None:
        super().__init__(address)
        host, port = address.rsplit(":", 1)
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self._socket.connect((host, int(port)))
        self._socket.sendall(self.request(0))

    def close(self) -> None:
        """Take what is in the buffers of this host, and close the connection."""
        try:
            while more := self._socket.recv(65_536):
                self.take(more)
        except ConnectionResetError:
            pass
        self._socket.close()


def ask(client: httpx.Client, method: str, path: str, **options: object) -> httpx.Response:
    began = time.monotonic()
    answer = client.request(method, path, **options)  # type: ignore[arg-type]  # as httpx takes them
    assert time.monotonic() - began < ANSWERED_S, f"{method} {path}"
    return answer


def misbehave(address: str) -> list[float]:
    """Ask for what must be refused between what must be answered; return how long the latter took."""
    taken = []
    with httpx.Client(base_url=f"http://{address}", trust_env=False, timeout=30) as client:
        for at in range(20):
            began = time.monotonic()
            assert ask(client, "GET", "/v1/events?limit=10").status_code == 200
            taken.append(time.monotonic() - began)
            assert ask(client, "GET", "/v1/events", params={"cursor": "e30." * at + "\u00df"}).status_code in {400, 422}
            assert ask(client, "GET", "/v1/findings", params={"cursor": "A" * 4000}).status_code in {400, 422}
            assert ask(client, "GET", "/v1/events", params={"q": "a" * 9000}).status_code == 414
            assert ask(client, "POST", "/v1/findings:bulk", content=endless(200_000), headers=JSON).status_code == 413
    for _ in range(5):  # a connection each: the server closes it before it has everything
        try:
            answer = httpx.post(f"http://{address}/v1/findings:bulk", content=endless(30_000_000), headers=JSON)
            assert answer.status_code == 413
        except httpx.HTTPError:
            pass
    return taken


def endless(octets: int) -> Iterator[bytes]:
    for _ in range(octets // 50_000):
        yield b"x" * 50_000


async def hold(address: str, store: Store) -> tuple[list[Stream], list[float]]:
    """Read with many streams, some of which break off and resume, while events are stored and others misbehave."""
    readers = [Stream(address) for _ in range(STREAMS - STALLED)]
    last = store.last_ingest_seq()
    broken = [asyncio.create_task(reader.read(last + 1 + at % 50, last)) for at, reader in enumerate(readers[:RESUMED])]
    whole = [asyncio.create_task(reader.read(last + LATER, last)) for reader in readers[RESUMED:]]
    await asyncio.gather(*(reader.is_open.wait() for reader in readers))
    asked = asyncio.create_task(asyncio.to_thread(misbehave, address))
    for at in range(0, LATER, 50):
        await asyncio.sleep(1)
        await asyncio.to_thread(store.append, events_of(50, EARLIER + at))
    await asyncio.gather(*broken)
    await asyncio.gather(*(reader.read(last + LATER, reader.places[-1]) for reader in readers[:RESUMED]))
    await asyncio.gather(*whole)
    return readers, await asked


@pytest.mark.full
@pytest.mark.timeout(600)
def test_a_thousand_streams_and_some_that_stall(store: Store, server: tuple[str, int]) -> None:
    address, pid = server
    store.append(events_of(EARLIER, 0))
    before_mib, last = resident_mib(pid), store.last_ingest_seq()
    began = time.monotonic()
    stalled = [StalledStream(address) for _ in range(STALLED)]
    readers, taken = asyncio.run(asyncio.wait_for(hold(address, store), 300))
    grown_mib = resident_mib(pid) - before_mib
    sys.stderr.write(f"other requests took {max(taken):.2f} s at most; {grown_mib:.0f} MiB more\n")
    assert all(reader.places == list(range(last + 1, last + LATER + 1)) for reader in readers)
    assert grown_mib < ROOM_MIB
    wait_until(lambda: cut_off(address) == STALLED, STALLED_S + 60)
    assert time.monotonic() - began > STALLED_S
    for each in stalled:
        each.close()
    resumed = stalled[0]
    assert resumed.places[-1] < last
    asyncio.run(resumed.read(last + LATER, resumed.places[-1]))
    assert resumed.places == list(range(1, last + LATER + 1))


def cut_off(address: str) -> int:
    text = httpx.get(f"http://{address}/metrics", trust_env=False, timeout=30).text
    found = re.search(r"^molecatcher_streams_cut_off_total (\d+)", text, re.MULTILINE)
    assert found
    return int(found[1])
