"""A sensor that is stopped, floods and disks: what its heartbeat says of itself, on real packets."""

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cable import Wire, open_wire
from frames import ACK, SYN, tcp
from hellos import hello_message, records, server_name
from netns import needs_root
from stored_events import make_event

from db.values import Finding, FindingFilter
from molecatcher.processes.sensor import Sensor
from molecatcher.settings import Settings
from rules.values.sensor_status import SensorState, SensorStatus
from sensor.capture.filter.flow_heads import FlowHeads
from sensor.capture.filter.limits import Limits
from sensor.capture.filter.packet_filter import EveryIpPacket, PacketFilter
from sensor.capture.filter.program_heads import ProgramHeads
from sensor.capture.live.live import LiveSource
from sensor.capture.live.plain import IS_COMPILED, PlainTap
from sensor.capture.live.ring import RingTap
from sensor.capture.live.sockets import Engine
from sensor.capture.live.tap import TapOpener
from sensor.detection.detect import Detector
from sensor.pipeline import Limits as PipelineLimits
from sensor.pipeline import Pipeline

if TYPE_CHECKING:
    from sensor.packet import Packet

pytestmark = needs_root

ENDS = ("10.20.0.7", 40000, "192.0.2.10", 443)
HELLO = records(hello_message(server_name(b"connect.ngrok-agent.com")))
FLOOD = [tcp(0, ("10.20.0.8", 50000, "192.0.2.11", 443), (number, 1, ACK), bytes(1400)).data for number in range(2000)]
SMALL: dict[str, TapOpener] = {
    "plain": partial(PlainTap, buffer_octets=64 * 1024),
    "ring": partial(RingTap, blocks=2),
}
OpenSensor = Callable[[Engine], Sensor]


@pytest.fixture
def wire() -> Iterator[Wire]:
    with open_wire() as cable:
        yield cable


@pytest.fixture
def stamped(wire: Wire) -> Iterator[None]:
    """The kernel stamps packets as they come; it begins a while after the first socket that asks for it."""
    tap = PlainTap("eth0", EveryIpPacket())
    batch: list[Packet] = []
    read_ns = 0
    while not batch or batch[-1].ts_ns >= read_ns:  # what the kernel did not stamp has the time at which it is read
        batch.clear()
        wire.send(FLOOD[0])
        time.sleep(0.1)
        read_ns = time.time_ns()
        tap.drain(batch, 1)
    yield
    tap.close()


@pytest.fixture
def open_sensor(wire: Wire, tmp_path: Path) -> Iterator[OpenSensor]:  # noqa: ARG001 - there must be a cable
    """Opens a sensor on the cable that takes packets by an engine of the test's choice."""
    with contextlib.ExitStack() as stack:

        def opened(engine: Engine) -> Sensor:
            sensor = Sensor(Settings(state=tmp_path, interface=("eth0",), policy=None))
            sensor.source.close()
            sensor.source = LiveSource(("eth0",), engine)
            sensor._due["heartbeat"] = math.inf  # only when a test asks for one
            stack.callback(sensor.store.close)
            stack.callback(sensor.listening.close)
            stack.callback(sensor.namespaces.close)
            stack.callback(sensor.source.close)
            return sensor

        yield opened


def heartbeat(sensor: Sensor) -> SensorStatus:
    """What the sensor says of itself now."""
    sensor._beat(time.time_ns())
    assert sensor.delivery._status is not None
    return sensor.delivery._status


def watch(sensor: Sensor, turns: int = 10) -> None:
    for _ in range(turns):
        sensor._turn()


def agent(src: str = "10.20.0.7") -> list[bytes]:
    ends = (src, *ENDS[1:])
    return [tcp(0, ends, (100, 0, SYN)).data, tcp(0, ends, (101, 1, ACK), HELLO).data]


@pytest.mark.usefixtures("stamped")
@pytest.mark.parametrize("tap", ["ring", pytest.param("plain", marks=pytest.mark.full)])
def test_a_reader_that_stops_says_what_it_lost_where_and_how_late_it_is(
    wire: Wire, open_sensor: OpenSensor, tap: str
) -> None:
    sensor = open_sensor(Engine(open_tap=SMALL[tap]))
    wire.send(*FLOOD)
    time.sleep(0.3)
    watch(sensor)
    status = heartbeat(sensor)
    assert 0 < status.kernel_drops < len(FLOOD)
    assert status.kernel_drops + status.packets == len(FLOOD)
    assert status.interface_drops == {"eth0": status.kernel_drops}
    assert status.lost_last_minute == status.kernel_drops
    assert status.buffer_fill == 0
    assert status.buffer_fill_peak > 0.9
    assert status.lag_ms >= 300
    assert status.state(status.heartbeat_ns) is SensorState.LOSING


@pytest.mark.parametrize("tap", [RingTap, pytest.param(PlainTap, marks=pytest.mark.full)])
def test_a_sensor_that_keeps_up_says_nothing(wire: Wire, open_sensor: OpenSensor, tap: TapOpener) -> None:
    sensor = open_sensor(Engine(open_tap=tap))
    for start in range(0, 600, 100):
        wire.send(*FLOOD[start : start + 100])
        watch(sensor, 3)
    status = heartbeat(sensor)
    assert (status.packets, status.kernel_drops, status.lost_last_minute) == (600, 0, 0)
    assert status.state(status.heartbeat_ns) is SensorState.WATCHING


def test_peaks_are_those_since_the_heartbeat_before(wire: Wire, open_sensor: OpenSensor) -> None:
    sensor = open_sensor(Engine(open_tap=SMALL["ring"]))
    wire.send(*FLOOD)
    watch(sensor)
    first = heartbeat(sensor)
    second = heartbeat(sensor)
    assert first.lag_ms > 0
    assert first.buffer_fill_peak > 0
    assert (second.lag_ms, second.buffer_fill_peak) == (0, 0)
    assert second.kernel_drops == first.kernel_drops


def test_a_batch_that_is_given_up_is_lost_too(wire: Wire, open_sensor: OpenSensor) -> None:
    sensor = open_sensor(Engine())
    wire.send(*FLOOD[:20])
    rules = iter([sensor.rules()])  # there are none for the batch, which raises
    detector, sensor.detector = sensor.detector, Detector(Pipeline(), rules.__next__)
    sensor._turn()
    sensor.detector = detector
    status = heartbeat(sensor)
    assert (status.shed, status.kernel_drops, status.lost_last_minute) == (20, 0, 20)


@pytest.mark.parametrize("make_filter", [FlowHeads, *([ProgramHeads] if IS_COMPILED else [])])
def test_the_pressure_on_the_filters_map_is_said(
    wire: Wire, open_sensor: OpenSensor, make_filter: Callable[[Limits], PacketFilter]
) -> None:
    sensor = open_sensor(Engine("", "", make_filter(Limits(flows=64)), RingTap))
    ends = [("10.20.0.8", 50000 + number, "192.0.2.11", 443) for number in range(160)]
    wire.send(*(tcp(0, each, (1, 1, ACK), bytes(10)).data for each in ends))
    watch(sensor)
    first, second = heartbeat(sensor), heartbeat(sensor)
    assert (first.flow_map_size, first.flow_map_opened, first.flow_map_turnover) == (64, 160, 2.5)
    assert (second.flow_map_opened, second.flow_map_turnover) == (160, 0)
    assert (first.flows, first.flow_table_flows, first.flow_table_size) == (160, 160, PipelineLimits().flows)
    told = {"flows", "half_open", "names", "windows", "watch", "merge", "directions", "attribution", "seen_leases"}
    assert told <= set(first.evicted)
    assert first.evicted.pop("flow_map") == (160 - 64) * (make_filter is ProgramHeads)
    assert set(first.evicted.values()) == {0}


def test_what_waits_for_the_database_is_counted_on_disk_and_in_memory(open_sensor: OpenSensor) -> None:
    sensor = open_sensor(Engine(packet_filter=EveryIpPacket()))
    now_ns = time.time_ns()
    sensor.keep([make_event(number) for number in range(3)])
    status = heartbeat(sensor)
    assert (status.spool_events, status.pending_events) == (3, 0)
    assert status.spool_octets == sensor.spool.waiting_octets > 0
    assert status.delivery_lag_ms < 5_000
    sensor.spool.limit_octets = 0
    sensor.keep([make_event(4, last_seen_ns=now_ns - 20 * 10**9)])
    status = heartbeat(sensor)
    assert (status.spool_events, status.pending_events) == (3, 1)
    assert status.delivery_lag_ms >= 20_000
    assert status.state(status.heartbeat_ns) is SensorState.SPOOLING


@pytest.mark.parametrize("tap", ["ring", pytest.param("plain", marks=pytest.mark.full)])
def test_findings_of_a_sensor_that_loses_packets_say_so(wire: Wire, open_sensor: OpenSensor, tap: str) -> None:
    sensor = open_sensor(Engine(open_tap=SMALL[tap]))
    wire.send(*agent())
    watch(sensor)
    wire.send(*FLOOD)
    watch(sensor)
    wire.send(*agent("10.20.0.9"))
    watch(sensor)
    before, after = finding_of(sensor, "10.20.0.7"), finding_of(sensor, "10.20.0.9")
    lost = heartbeat(sensor).kernel_drops
    assert lost > 0
    assert (before.sensor_loss, after.sensor_loss) == (0, lost)
    sensor.keep(sensor.reporter.expire(time.time_ns() + 60 * 10**9))
    assert finding_of(sensor, "10.20.0.7").sensor_loss == lost
    event = sensor.store.event(finding_of(sensor, "10.20.0.7").event_id)
    assert event is not None
    assert (event.sensor_loss, event.count) == (lost, 1)


def test_findings_of_a_sensor_that_keeps_up_say_nothing(wire: Wire, open_sensor: OpenSensor) -> None:
    sensor = open_sensor(Engine(open_tap=RingTap))
    wire.send(*FLOOD[:200], *agent())
    watch(sensor)
    sensor.keep(sensor.reporter.flush())
    assert heartbeat(sensor).packets == 202
    assert finding_of(sensor, "10.20.0.7").sensor_loss == 0


def finding_of(sensor: Sensor, src: str) -> Finding:
    """What the store holds of `src` once everything is delivered."""
    assert sensor.delivery._try()
    (found,) = sensor.store.findings(FindingFilter(src=src), 2)
    return found
