"""Our lists as a reader meets them: over HTTP and as a zone, on ports that stay, stopped, broken and back again."""

import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from free_ports import free_port
from installation import Installation, snapshot_of, wait_until
from starlette.requests import Request
from starlette.responses import Response
from zone_service import KEY, ORIGIN

from api.app import create_app
from api.feeds.pull_log import PullLog
from api.serving.server import ApiServer, bind, parse_listen
from api.zone.server import bind_both
from db.errors import DbError
from db.lists.values import SnapshotRow
from db.store import open_store
from molecatcher.lists.zone_keys import ZoneKeyFiles
from molecatcher.processes.open_zone import OpenZone, ZoneListener
from rules.lists.blocklist import Body
from rules.lists.encoding import encode

HEARD = ("notified", "notify_given_up", "cut")


def call(function: Callable[..., Any], *arguments: object) -> Any:
    """Call a function here; a test network's host calls it there."""
    return function(*arguments)


def own_address() -> str:
    """Return an address that nobody else takes while the server is stopped."""
    return f"127.0.0.1:{free_port()}"


@dataclass
class ListService:
    """A server of HTTP and one of the zone over what an installation publishes, in this process."""

    installation: Installation
    folder: Path
    listen_in: Callable[..., Any] = call
    http: str = field(default_factory=own_address)
    zone: str = field(default_factory=own_address)
    secondaries: list[str] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    status_forced: int = 0
    _running: list[Any] = field(default_factory=list)
    _questions: int = 0

    @property
    def zone_port(self) -> int:
        return int(self.zone.rpartition(":")[2])

    def feed(self, name: str) -> str:
        """Return a list's address."""
        return f"http://{self.http}/feeds/{name}"

    def publish(self, body: Body) -> None:
        """Put a list in force, and keep it where there is a database."""
        snapshot = snapshot_of(body)
        serial = max([held.serial for held in self.installation.snapshots.values()], default=0) + 1
        row = SnapshotRow(snapshot.list_name, serial, snapshot.created_at_ns, snapshot.digest, encode(body))
        with suppress(DbError):
            serial = self.installation.store.publish_snapshot(row).serial
        self.installation.publish(body, serial)

    def questions(self) -> int:
        """Return how often a reader has asked."""
        zone: dict[str, int] = self._running[1].counts() if self._running else {}
        return len(self.statuses) + self._questions + sum(zone[kind] for kind in zone if kind not in HEARD)

    @contextmanager
    def failing(self, status: int) -> Iterator[None]:
        """Answer everything with this status, and SERVFAIL."""
        held = dict(self.installation.snapshots)
        self.installation.snapshots.clear()
        self.status_forced = status
        yield
        self.status_forced = 0
        self.installation.snapshots.update(held)

    def start(self) -> None:
        """Serve, on the ports of the last time."""
        application = create_app(self.installation.context())
        application.middleware("http")(self._count)
        server = ApiServer(application, self.listen_in(bind, parse_listen(self.http)))
        thread = threading.Thread(target=server.run)
        zone = self._open_zone(application.state.pulls)
        thread.start()
        zone.start()
        wait_until(lambda: server.is_started and zone.is_started)
        self._running = [server, zone, thread]

    def stop(self) -> None:
        """Close every port."""
        if self._running:
            self._questions = self.questions() - len(self.statuses)
            server, zone, thread = self._running
            self._running = []
            server.stop()
            zone.stop()
            thread.join(60)
            assert not thread.is_alive()

    def _open_zone(self, pulls: PullLog) -> OpenZone:
        keys = ZoneKeyFiles(self.folder / "zone_keys")
        if not list(keys.load()):
            keys.add(KEY)
        sockets = self.listen_in(bind_both, parse_listen(self.zone))
        return OpenZone(ZoneListener(sockets, ORIGIN, ()), self.installation.context(), keys, pulls)

    async def _count(self, request: Request, proceed: Callable[[Request], Awaitable[Response]]) -> Response:
        response = Response(status_code=self.status_forced) if self.status_forced else await proceed(request)
        self.statuses.append(response.status_code)
        return response


@contextmanager
def serving_lists(folder: Path, first: Body, listen_in: Callable[..., Any] = call) -> Iterator[ListService]:
    """Yield a service with its database in `folder` that has published `first`."""
    path = folder / "events.db"
    with open_store(path) as store:
        service = ListService(Installation(store, path), folder, listen_in)
        service.publish(first)
        service.start()
        try:
            yield service
        finally:
            service.stop()
