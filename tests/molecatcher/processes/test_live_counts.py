"""A tunnel that carries megabytes: its event grows while it lives, and is right at the end, whatever the engine."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cable import Wire, open_wire
from frames import ACK, CLIENT, FIN, SERVER, SYN, tcp
from hellos import hello_message, records, server_name
from netns import needs_root

from db.store import open_store
from db.values import EventFilter, FindingFilter
from molecatcher.processes.sensor import Sensor
from molecatcher.settings import Settings
from rules.values.event import Event
from sensor.capture.filter.flow_heads import FlowHeads
from sensor.errors import BpfUnavailable

pytestmark = needs_root

HELLO = records(hello_message(server_name(b"connect.ngrok-agent.com")))
UP = (CLIENT, 40000, SERVER, 443)
DOWN = (SERVER, 443, CLIENT, 40000)
ROUNDS, SEGMENTS, OCTETS = 12, 400, 1400


@pytest.fixture
def wire() -> Iterator[Wire]:
    with open_wire() as cable:
        yield cable


def unavailable(_limits: object, **_options: object) -> FlowHeads:
    raise BpfUnavailable("the test says so")


def opening() -> list[bytes]:
    rows = [
        tcp(0, UP, (1000, 0, SYN)),
        tcp(0, DOWN, (5000, 1001, SYN | ACK)),
        tcp(0, UP, (1001, 5001, ACK), HELLO),
        tcp(0, DOWN, (5001, 1001 + len(HELLO), ACK), b"\x16\x03\x03\x00\x7a" + bytes(122)),
    ]
    return [row.data for row in rows]


def bulk(number: int) -> list[bytes]:
    start = 1001 + len(HELLO) + number * SEGMENTS * OCTETS
    sent = [tcp(0, UP, (start + row * OCTETS, 5128, ACK), bytes(OCTETS)).data for row in range(SEGMENTS)]
    return [*sent, tcp(0, DOWN, (5128, start + SEGMENTS * OCTETS, ACK)).data]


def ending() -> list[bytes]:
    return [tcp(0, ends, (9, 9, FIN | ACK)).data for ends in (UP, DOWN)]


def turn(sensor: Sensor, seconds: float) -> list[Event]:
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s:
        sensor._turn()
    return sensor.store.events(EventFilter(), 10)


@pytest.mark.parametrize(
    "engine",
    ["flow-heads-ring", *(pytest.param(name, marks=pytest.mark.full) for name in ("flow-heads", "ring", "af-packet"))],
)
def test_a_bulk_tunnel_grows_while_it_lives(
    wire: Wire, tmp_path: Path, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if engine in {"ring", "af-packet"}:
        monkeypatch.setattr("sensor.capture.live.engine.FlowHeads", unavailable)
    if engine in {"flow-heads", "af-packet"}:
        monkeypatch.setattr("sensor.capture.live.engine.PACKET_RX_RING", 250)
    settings = Settings(state=tmp_path, interface=("eth0",), policy=None, window_s=0.5, update_s=0.6)
    sensor = Sensor(settings)
    assert sensor.source.engine == engine
    sensor.delivery.start()
    frames = [opening(), *map(bulk, range(ROUNDS)), ending()]
    seen: list[Event] = []
    for batch in frames:
        wire.send(*batch)
        seen += turn(sensor, 0.3)
    sensor._close()
    out = [row for batch in frames for row in batch if row[26:30] == tcp(0, UP, (1, 1, ACK)).data[26:30]]
    into = [row for batch in frames for row in batch if row not in out]
    with open_store(settings.database) as store:
        (last,) = store.events(EventFilter(), 10)
        (finding,) = store.findings(FindingFilter(), 10)
    assert (last.bytes_out, last.bytes_in) == (sum(map(len, out)), sum(map(len, into)))
    assert last.packets == len(out) + len(into)
    assert (finding.bytes_out, finding.bytes_in) == (last.bytes_out, last.bytes_in)
    assert 2000 < last.duration_ms < 60_000
    sizes = sorted({row.bytes_out for row in seen})
    assert len(sizes) > 3  # the first sight, and several while it lived
    assert {row.event_id for row in seen} == {last.event_id}
    assert last.revision <= 2 + (last.duration_ms + 2000) // 600
