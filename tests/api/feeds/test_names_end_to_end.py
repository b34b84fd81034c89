"""Real resolvers and a real proxy read the shipped catalogue's list: it blocks, spares, and follows what changes."""

import signal
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from feed_programs import (
    ADDED,
    BLOCKED,
    BLOCKED_WIDE,
    PASSED,
    dnsmasq,
    resolves,
    shipped_names,
    squid,
    unbound,
    upstream,
)
from installation import Eventually, Installation, snapshot_of, wait_until
from main_job import open_folder
from proxies import ask, echo_server
from starlette.requests import Request
from starlette.responses import Response

from api.app import create_app
from api.feeds import FeedFormat, render
from api.server import ApiServer, bind, parse_listen
from rules.blocklist import NameEntry, NameList, Scope

REMOVED = "tunnel.ngrok.com"
RPZ = "rpz:\n  name: rpz.invalid\n"


@pytest.fixture
def name_server() -> Iterator[int]:
    with upstream() as port:
        yield port


@pytest.fixture
def folder() -> Iterator[Path]:
    with open_folder() as folder:
        folder.chmod(0o777)  # Squid gives up root
        yield folder


def write(path: Path, feed_format: FeedFormat, body: NameList) -> Path:
    path.write_bytes(render(snapshot_of(body), feed_format))
    path.chmod(0o644)
    return path


def changed() -> NameList:
    return shipped_names(without=REMOVED, added=ADDED)


def judged(port: int) -> dict[str, bool | None]:
    return {name: resolves(port, name) for name in (*BLOCKED, *BLOCKED_WIDE, *PASSED)}


WANTED = dict.fromkeys((*BLOCKED, *BLOCKED_WIDE), False) | dict.fromkeys(PASSED, True)


@pytest.mark.parametrize(
    ("feed_format", "more"),
    [
        (FeedFormat.UNBOUND, 'include: "{file}"'),
        (FeedFormat.RPZ, RPZ + '  zonefile: "{file}"'),
    ],
)
def test_unbound_with_a_file(
    folder: Path, name_server: int, feed_format: FeedFormat, more: str, eventually: Eventually
) -> None:
    file = write(folder / "list", feed_format, shipped_names())
    with unbound(folder, name_server, more.format(file=file)) as (port, control):
        assert judged(port) == WANTED
        assert resolves(port, ADDED)
        write(file, feed_format, changed())
        control("reload")
        eventually(lambda: resolves(port, ADDED) is False)  # while it reads the list it answers nobody
        assert judged(port) == WANTED | {REMOVED: True}


def test_dnsmasq_with_a_servers_file(folder: Path, name_server: int, eventually: Eventually) -> None:
    file = write(folder / "list", FeedFormat.DNSMASQ, shipped_names())
    with dnsmasq(file, name_server) as (port, process):
        assert judged(port) == WANTED
        assert resolves(port, ADDED)
        write(file, FeedFormat.DNSMASQ, changed())
        process.send_signal(signal.SIGHUP)
        eventually(lambda: resolves(port, ADDED) is False)
        assert judged(port) == WANTED | {REMOVED: True}


def test_unbound_that_pulls_keeps_its_list_whatever_the_server_does(
    folder: Path, name_server: int, installation: Installation, eventually: Eventually
) -> None:
    installation.publish(shipped_names(), serial=7)
    asked: list[int] = []
    with ExitStack() as stack:
        server = stack.enter_context(ExitStack())
        url = server.enter_context(served(installation, asked))
        port, control = stack.enter_context(unbound(folder, name_server, f'{RPZ}  url: "{url}"'))

        def pull(status: int) -> None:
            asked.clear()
            control("auth_zone_transfer", "rpz.invalid")
            eventually(lambda: status in asked)

        eventually(lambda: resolves(port, BLOCKED[0]) is False)
        assert judged(port) == WANTED
        installation.publish(changed(), serial=8)
        pull(200)
        eventually(lambda: resolves(port, ADDED) is False)
        installation.publish(NameList(wide=(NameEntry("no name", Scope.EXACT, "s"),)), serial=9)
        pull(503)
        installation.publish(NameList(), serial=10)
        pull(404)
        installation.break_database()
        installation.snapshots.clear()
        pull(503)
        assert judged(port) == WANTED | {REMOVED: True}
        server.close()
        control("auth_zone_transfer", "rpz.invalid")
        assert judged(port) == WANTED | {REMOVED: True}


@contextmanager
def served(installation: Installation, asked: list[int]) -> Iterator[str]:
    """Yield the address of the zone on a server whose answers' statuses are added to `asked`."""
    application = create_app(installation.context())

    @application.middleware("http")
    async def count(request: Request, proceed: Callable[[Request], Awaitable[Response]]) -> Response:
        response = await proceed(request)
        asked.append(response.status_code)
        return response

    server = ApiServer(application, bind(parse_listen("127.0.0.1:0")))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        wait_until(lambda: server.is_started)
        yield f"http://{server.address}/feeds/unsanctioned-domains.rpz"
    finally:
        server.stop()
        thread.join(10)


def test_squid_with_an_acl(folder: Path, eventually: Eventually) -> None:
    file = write(folder / "list", FeedFormat.SQUID, shipped_names())
    names = (*BLOCKED, *PASSED, ADDED)
    with squid(folder, file, names) as (proxy, process), echo_server() as target:

        def statuses() -> dict[str, int]:
            return {name: int(ask(proxy, f"{name}:{target}").split()[1]) for name in names}

        wanted = dict.fromkeys(BLOCKED, 403) | dict.fromkeys((*PASSED, ADDED), 200)
        assert statuses() == wanted
        write(file, FeedFormat.SQUID, changed())
        process.send_signal(signal.SIGHUP)
        eventually(lambda: is_refused(proxy, f"{ADDED}:{target}"))
        assert statuses() == wanted | {ADDED: 403, REMOVED: 200}


def is_refused(proxy: int, target: str) -> bool:
    """Tell whether the proxy refuses the target; not while it reads its configuration and does not listen."""
    try:
        return b" 403 " in ask(proxy, target)
    except OSError:
        return False
