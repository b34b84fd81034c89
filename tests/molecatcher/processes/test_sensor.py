import math
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from frames import read_packets, told
from netns import needs_root
from stored_events import make_event

from db.values import EventFilter
from molecatcher.errors import SetupError
from molecatcher.processes.sensor import BATCH_EVENTS, MAX_PENDING_EVENTS, Sensor
from molecatcher.settings import Settings
from sensor.pipeline import Limits, Pipeline

PCAPS = Path(__file__).parents[3] / "pcaps"
pytestmark = needs_root


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MiB for the spool alone."""
    folder = tmp_path / "state" / "spool"
    folder.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)], check=True)
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def sensor_on(state: Path, **settings: Any) -> Sensor:
    """A sensor on no interface: what other tests send over the loopback would be in its events."""
    return Sensor(Settings(state=state, interface=("missing0",), policy=None, **settings))


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


def test_packets_give_way_to_events_where_the_spool_fills(small_disk: Path) -> None:
    sensor = sensor_on(small_disk.parent, spool_mib=1)
    with_packets = [make_event(number, evidence=bytes(20_000)) for number in range(100)]
    for event in with_packets:
        sensor.keep([event])
    kept = sum(bool(event.evidence) for batch in sensor.spool.batches() for event in batch.events)
    assert 10 < kept < 30
    assert sensor.spool.waiting_events == 100
    assert sensor.counters["evidence_shed"] == 100 - kept
    (small_disk / "ballast").write_bytes(bytes((4 << 20) - sensor.spool.waiting_octets - 8192))
    sensor.spool.limit_octets = 64 << 20
    sensor.keep(with_packets)
    assert sensor._pending
    assert not any(event.evidence for event in sensor._pending)
    sensor.delivery.start()
    sensor._close()


def test_tables_leave_room_for_those_that_only_several_interfaces_need(tmp_path: Path) -> None:
    sensor = Sensor(Settings(state=tmp_path, interface=("missing0", "missing1"), policy=None))
    assert sensor.detector.pipeline.limits == Limits().beside_several_interfaces()
    assert Limits().beside_several_interfaces().flows == Limits().flows * 5 // 8
    sensor.delivery.start()
    sensor._close()


def test_without_packets_nothing_of_them_is_kept(tmp_path: Path) -> None:
    sensor = sensor_on(tmp_path, evidence=False)
    packets = read_packets(str(PCAPS / "ngrok-py-default.pcap"))
    sensor._observe(packets, packets[-1].ts_ns, packets[-1].ts_ns)
    events = sensor._report(packets[-1].ts_ns)
    assert events
    assert not any(event.evidence for event in events)
    sensor.delivery.start()
    sensor._close()


def test_a_spool_that_cannot_be_used_ends_the_start_with_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "spool").write_text("")
    with pytest.raises(SetupError, match="spool"):
        sensor_on(tmp_path)


def test_a_shed_batch_is_logged_without_what_it_carried(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    secret = b"Authorization: Basic c2VjcmV0"
    sensor = sensor_on(tmp_path)
    sensor.detector = None  # type: ignore[assignment]  # anything that raises
    packet = type("P", (), {"data": bytes(54) + secret})()
    sensor._observe([packet], 0, 0)
    assert (len(sensor._gathered), sensor.counters["shed"]) == (0, 1)
    printed = capsys.readouterr()
    assert "packet_batch_shed" in printed.out + printed.err
    assert secret.hex() not in printed.out + printed.err
    sensor.source.close()
    sensor.listening.close()
    sensor.namespaces.close()
    sensor.store.close()


@pytest.mark.faults
def test_packets_that_the_screen_failed_on_are_in_the_status_and_said_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_kind: int, name: str) -> bool:
        raise TypeError(f"no answer to {name}")

    said: list[Any] = []
    sensor = Sensor(Settings(state=tmp_path, interface=("missing0",), policy=None), tell=said.append)
    screen = sensor.detector.pipeline.screen
    assert screen is not None
    screen.ask = fail
    for at_ns in range(1, 4):
        packets = told("connect.ngrok-agent.com", at_ns=at_ns)
        assert screen.sift(packets) == packets
        sensor._keep_house()
    sensor._beat(10**18)
    assert said[-1].faults == screen.faults.count >= 3
    assert said[-1].shed == 0
    printed = capsys.readouterr()
    assert (printed.out + printed.err).count("packets_not_screened") == 1
    sensor.delivery.start()
    sensor._close()


@pytest.mark.faults
def test_a_packet_that_the_program_fails_on_is_given_up_alone_and_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said: list[Any] = []
    sensor = Sensor(Settings(state=tmp_path, interface=("missing0",), policy=None), tell=said.append)
    sensor.detector.pipeline = Pipeline(is_own_lookup=fail_on_odd_names)
    sensor._observe([*told("odd.example.com"), *told("connect.ngrok-agent.com", at_ns=1)], 2, 2)
    assert sensor._gathered
    sensor._keep_house()
    sensor._beat(10**18)
    assert said[-1].shed == 2
    printed = capsys.readouterr()
    assert (printed.out + printed.err).count("packets_shed") == 1
    sensor.delivery.start()
    sensor._close()


def fail_on_odd_names(qname: str, _wire: bytes) -> bool:
    if qname.startswith("odd."):
        raise TypeError(f"no answer to {qname}")
    return False


def test_the_first_event_is_made_durable_at_once_a_stream_together_and_none_stays_behind(tmp_path: Path) -> None:
    sensor = sensor_on(tmp_path)

    def detect(first: int, count: int) -> None:
        for number in range(first, first + count):
            at_ns = 10**18 + number * 10**7
            sensor._observe(told(f"{number}.connect.ngrok-agent.com", at_ns=at_ns), at_ns, at_ns)

    def spooled() -> list[int]:
        sensor._turn()
        return [len(batch.events) for batch in sensor.spool.batches()]

    detect(0, 1)
    assert spooled() == [1]
    sensor._due["report"] = math.inf
    detect(1, 2)
    assert spooled() == [1]
    sensor._due["report"] = 0
    assert spooled() == [1, 2]
    sensor._due["report"] = math.inf
    detect(3, BATCH_EVENTS)
    assert spooled() == [1, 2, BATCH_EVENTS]
    sensor._due["report"] = math.inf
    detect(3 + BATCH_EVENTS, 1)
    assert spooled() == [1, 2, BATCH_EVENTS]
    sensor.delivery.start()
    sensor._close()
    with sensor.store as store:
        assert len(store.events(EventFilter(), 1000)) == 4 + BATCH_EVENTS


def test_an_answer_that_waits_to_be_read_is_not_missing(tmp_path: Path) -> None:
    query, answer = told("connect.ngrok-agent.com", at_ns=10**18)
    late_ns = answer.ts_ns + 5 * 10**9
    sensor = sensor_on(tmp_path)
    sensor._observe([query], late_ns, query.ts_ns)
    sensor._observe([answer], late_ns, late_ns)
    assert [event.dns_rcode for event in sensor._report(late_ns)] == [0]
    sensor.delivery.start()
    sensor._close()
