import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from netns import needs_root
from stored_events import make_event

from db.values import EventFilter
from molecatcher.errors import SetupError
from molecatcher.sensor_process import MAX_PENDING_EVENTS, Sensor
from molecatcher.settings import Settings

pytestmark = needs_root


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MiB for the spool alone."""
    folder = tmp_path / "state" / "spool"
    folder.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)], check=True)
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def sensor_on(state: Path, **settings: int) -> Sensor:
    return Sensor(Settings(state=state, interface=("lo",), policy=None, **settings))


def test_what_waited_for_a_full_spool_is_delivered_in_parts_once_there_is_room(small_disk: Path) -> None:
    sensor = sensor_on(small_disk.parent)
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes((4 << 20) - 8192))
    events = [make_event(number) for number in range(MAX_PENDING_EVENTS + 5)]
    sensor.keep(events)
    assert sensor.counters["spool_overflow"] == 5
    ballast.unlink()
    sensor.delivery.start()
    for _ in range(100):
        sensor._due.clear()
        sensor.keep([])
        if not sensor._pending:
            break
        sensor.delivery._try()
    sensor._close()
    with sensor.store as store:
        assert len(store.events(EventFilter(), 20_000)) == MAX_PENDING_EVENTS


def test_a_spool_that_cannot_be_used_ends_the_start_with_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "spool").write_text("")
    with pytest.raises(SetupError, match="spool"):
        sensor_on(tmp_path)


def test_a_shed_batch_is_logged_without_what_it_carried(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    secret = b"Authorization: Basic c2VjcmV0"
    sensor = sensor_on(tmp_path)
    sensor.detector = None  # type: ignore[assignment]  # anything that raises
    packet = type("P", (), {"data": bytes(54) + secret})()
    assert sensor._observe([packet], 0) == []  # type: ignore[list-item]
    printed = capsys.readouterr()
    assert "packet_batch_shed" in printed.out + printed.err
    assert secret.hex() not in printed.out + printed.err
    sensor.source.close()
    sensor.listening.close()
    sensor.namespaces.close()
    sensor.store.close()
