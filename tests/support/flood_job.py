"""A whole sensor that meets floods: `python flood_job.py STATE SIZE INTERFACES FLOOD...`; says what it found and took.

It is the sensor process with its libraries, capture rings and spool; packets come from `floods` in place of the rings,
and past the screen, so that they fill the tables of the pipeline, but for floods that are called `screened-...`.
With several interfaces (`eth0,eth1`) each shows every packet. Several floods are stored while they go on.
The peak is the process's own resident memory (VmHWM), so each run needs a process.
"""

import json
import struct
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import floods
from floods import Clock
from frames import S
from msgspec.structs import replace

from molecatcher.logs import configure_logging
from molecatcher.processes.sensor import Sensor
from molecatcher.settings import Settings
from sensor.capture.filter.packet_filter import NOTHING_CUT
from sensor.capture.live.live import BATCH_PACKETS, LiveSource
from sensor.capture.live.ring import take
from sensor.capture.screening.compiled import CompiledScreen
from sensor.packet import LinkType, Packet

SPOOL_MIB = 16
SCREENED = "screened-"  # before the name of a flood: it comes through the screen, which holds back what it may
_HEADER = struct.Struct("@6IH")  # struct tpacket3_hdr (linux/if_packet.h)


def dns(clock: Clock, size: int) -> Iterator[Packet]:
    """A tunnel behind a DNS flood."""
    yield from floods.dns_flood(clock, size)
    yield from floods.tunnel(clock, 0)


FLOODS: dict[str, Callable[[Clock, int], Iterator[Packet]]] = {
    "syns": floods.tunnels_around_a_syn_flood,
    "dns": dns,
    "flows": lambda clock, size: floods.flow_flood(clock, size, tunnels=1000),
    "tunnels": lambda clock, size: floods.flow_flood(clock, size, tunnels=size // 4, first=1 << 23),
    "half_hellos": lambda clock, size: floods.half_hellos(clock, size, completed=1000),
    "quic": floods.quic_flood,
    "detections": floods.detection_flood,
    "fragments": floods.fragment_flood,
    "giants": floods.giants,
}


def each_once(source: LiveSource, batch: list[Packet], interfaces: tuple[str, ...]) -> list[Packet]:
    """What is due, once each of `interfaces` has shown `batch`."""
    shown = [replace(row, interface=name, data=bytes(bytearray(row.data))) for row in batch for name in interfaces]
    source._merge.add(shown)
    return source._copies.leave_out(source._merge.take(batch[-1].ts_ns, len(shown)))


def behind_screen(source: LiveSource, batch: list[Packet]) -> list[Packet]:
    """What the sensor's screen lets through of `batch`."""
    assert source.screen is not None
    if not isinstance(source.screen, CompiledScreen):
        return source.screen.sift(batch)
    rows: list[Packet] = []
    for row in batch:
        header = _HEADER.pack(0, *divmod(row.ts_ns, S), len(row.data), row.wire_octets, 0, _HEADER.size)
        screening = *NOTHING_CUT, *source.screen.parts
        take(header + row.data, 0, 1, 1, rows, Packet, LinkType.ETHERNET, row.interface, *screening)
    return rows


def main(state: Path, size: int, interfaces: tuple[str, ...], names: list[str]) -> None:
    """Feed the floods one after the other, and say how it went."""
    configure_logging()
    sensor = Sensor(Settings(state=state, policy=None, interface=interfaces, spool_mib=SPOOL_MIB))
    if len(names) > 1:  # one alone may have to overflow the spool
        sensor.delivery.start()
    clock, now_ns = Clock(), 0
    found: set[tuple[str, int]] = set()
    for called in names:
        name = called.removeprefix(SCREENED)
        for batch in floods.batches(FLOODS[name](clock, size), BATCH_PACKETS // len(interfaces)):
            now_ns = batch[-1].ts_ns if batch else now_ns
            rows = each_once(sensor.source, batch, interfaces) if len(interfaces) > 1 else batch
            rows = behind_screen(sensor.source, batch) if called != name else rows
            sensor._observe(rows, now_ns, now_ns)
            events = sensor._report(now_ns)
            found.update((event.src_ip, event.src_port) for event in events if event.tls_sni == floods.TUNNEL)
            sensor.keep(events)
    counters = asdict(sensor.detector.pipeline.counters) | dict(sensor.counters)
    counters |= {"watch_evicted": sensor.detector.watch.evicted, "copies": sensor.source._copies.found}
    screened = sensor.detector.screened
    counters |= {"screen_evicted": screened.evicted, "screen_names_evicted": screened.names_evicted}
    counters |= {"directions_evicted": sensor.source._copies.evicted}
    counters |= {"windows_evicted": sensor.reporter.windows_evicted, "events": sensor.reporter.events}
    peak = next(row for row in Path("/proc/self/status").read_text().splitlines() if row.startswith("VmHWM"))
    sys.stdout.write(json.dumps({"peak_kib": int(peak.split()[1]), "found": len(found), "counters": counters}) + "\n")
    if len(names) > 1:
        sensor.delivery.stop()
    sensor.source.close()
    sensor.store.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), tuple(sys.argv[3].split(",")), sys.argv[4:])
