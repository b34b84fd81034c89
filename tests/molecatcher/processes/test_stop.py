"""A sensor that is told to stop reports all that came before."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from cable import Wire, open_wire
from frames import ask
from netns import needs_root

from db.store import open_store
from db.values import EventFilter
from molecatcher.processes.notify import Notifier
from molecatcher.processes.sensor import Sensor
from molecatcher.settings import Settings
from sensor.capture.live.live import BATCH_PACKETS

pytestmark = needs_root

SENT = 3 * BATCH_PACKETS


@pytest.fixture
def wire() -> Iterator[Wire]:
    with open_wire() as cable:
        cable.network.cable(cable.sensor, "eth1", cable.sender, "eth1")
        yield cable


@pytest.mark.parametrize("interfaces", [("eth0",), ("eth0", "eth1")])
def test_what_waits_to_be_read_is_reported(interfaces: tuple[str, ...], wire: Wire, tmp_path: Path) -> None:
    settings = Settings(state=tmp_path, interface=interfaces, policy=None)
    sensor = Sensor(settings)
    wire.send(*(ask(0, f"{number}.connect.ngrok-agent.com", ident=number).data for number in range(SENT)))
    sensor.stop()
    sensor.run(Notifier())
    with open_store(settings.database) as store:
        assert [status.interfaces for status in store.sensors()] == [interfaces]
        assert len(store.events(EventFilter(), 2 * SENT)) == SENT


@pytest.mark.usefixtures("wire")
def test_a_sensor_that_fails_at_its_end_leaves_no_thread_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = set(threading.enumerate())
    sensor = Sensor(Settings(state=tmp_path, interface=("eth0",), policy=None))
    monkeypatch.delattr(sensor.reporter, "_windows")  # as any error in what is told last
    sensor.stop()
    with pytest.raises(AttributeError):
        sensor.run(Notifier())
    for thread in set(threading.enumerate()) - before:
        thread.join(60)
        assert not thread.is_alive()
