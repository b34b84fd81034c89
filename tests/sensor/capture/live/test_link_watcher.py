import select
import threading
from collections.abc import Iterator

import pytest
from netns import Host, Network, needs_root

from sensor.capture.live.link_watcher import LinkWatcher

pytestmark = needs_root


@pytest.fixture
def host() -> Iterator[Host]:
    with Network() as network:
        host = network.host("watched")
        network.cable(host, "eth0", network.host("other"), "eth0")
        host.address("eth0", "192.0.2.1/24", "fd00::1/64")
        yield host  # whose carrier has come: no news is on its way


@pytest.fixture
def watcher(host: Host) -> Iterator[LinkWatcher]:
    watcher = host.call(LinkWatcher)  # made in another thread than the one that reads
    yield watcher
    watcher.close()


@pytest.mark.parametrize(
    "command",
    [
        "link set eth0 down",
        "link set eth0 name wan0",
        "link delete eth0",
        "address add 192.0.2.9/24 dev eth0",
        "address add fd00::9/64 dev eth0",
        "route add default via 192.0.2.2",
        "-6 route add default via fd00::2",
    ],
)
def test_a_change_is_told_once(host: Host, watcher: LinkWatcher, command: str) -> None:
    watcher.has_changed()
    host.ip(command)
    assert select.select([watcher.fileno()], [], [], 60)[0]
    assert watcher.has_changed()
    select.select([], [], [], 0.1)
    watcher.has_changed()
    assert not watcher.has_changed()
    assert not select.select([watcher.fileno()], [], [], 0)[0]


def test_another_namespace_is_not_heard(host: Host, watcher: LinkWatcher) -> None:
    watcher.has_changed()
    with Network() as network:
        network.host("elsewhere").ip("link set lo down")
    assert host.namespace
    assert not watcher.has_changed()


def test_an_overflown_queue_is_a_change(host: Host, watcher: LinkWatcher) -> None:
    batch = "".join(f"route add 10.{number >> 8}.{number & 255}.0/24 via 192.0.2.2\n" for number in range(4000))
    host.run(["ip", "-batch", "-"], input=batch)
    assert watcher.has_changed()
    assert not watcher.has_changed()


def test_closing_in_another_thread_leaves_nothing_open(host: Host) -> None:
    watcher = host.call(LinkWatcher)
    thread = threading.Thread(target=watcher.close)
    thread.start()
    thread.join()
    assert watcher.fileno() == -1
