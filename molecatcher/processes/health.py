"""The sensor's own health: what was lost, what waits, how late it is; measured between two heartbeats.

Nothing here is done for each packet: a clock is read for each batch, counters of the kernel twice a second and for each
batch in which something was detected.
"""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from rules.values.event import Event
from sensor.capture.live.counters import SourceCounters
from sensor.capture.live.live import LiveSource
from sensor.counters import Counters
from sensor.detection.detect import Detector
from sensor.packet import Packet
from sensor.reporting.losses import LEAD_NS, Losses
from sensor.reporting.report import Reporter
from sensor.reporting.spool import Spool

NS_PER_MS = 1_000_000
EVICTED = "_evicted"
EVICTION_COUNTERS = tuple(field.name for field in fields(Counters) if field.name.endswith(EVICTED))


class Health:
    """Fills in the part of `SensorStatus` that speaks of the sensor's own health; what it means is said there."""

    def __init__(self) -> None:
        self.losses = Losses()
        self._lag_ns = 0
        self._map_opened = 0

    def note_losses(self, source: LiveSource, shed: int, now_ns: int) -> None:
        """Take the counters of lost packets at `now_ns`; takes one system call an interface."""
        self.losses.note(source.kernel_drops() + shed, now_ns)

    def note_handled(self, packets: Sequence[Packet], now_ns: int) -> None:
        """Take how old the newest packet of a batch was at `now_ns`, when all of them had been handled."""
        if packets:
            self._lag_ns = max(self._lag_ns, now_ns - packets[-1].ts_ns)

    def of_capture(self, source: LiveSource, shed: int, now_ns: int) -> dict[str, Any]:
        """Return the fields of losses, ring, lag and the kernel's flows; peaks begin anew."""
        counters = source.counters()
        self.losses.note(counters.kernel_drops + shed, now_ns)
        opened, self._map_opened = counters.flows_opened - self._map_opened, counters.flows_opened
        lag_ns, self._lag_ns = self._lag_ns, 0
        return {
            "kernel_drops": counters.kernel_drops,
            "interface_drops": dict(counters.interface_drops),
            "shed": shed,
            "lost_last_minute": self.losses.since(now_ns - LEAD_NS),
            "buffer_fill": source.fill(),
            "buffer_fill_peak": source.take_fill_peak(),
            "lag_ms": lag_ns // NS_PER_MS,
            "flow_map_opened": counters.flows_opened,
            "flow_map_size": counters.flows_places,
            "flow_map_turnover": opened / counters.flows_places if counters.flows_places else 0.0,
        }


def of_tables(
    detector: Detector, reporter: Reporter, source: SourceCounters, others: Mapping[str, int]
) -> dict[str, Any]:
    """Return the fields of the program's tables; `others` are what left those that are none of the arguments'."""
    pipeline = detector.pipeline
    counters, screened = pipeline.counters, detector.screened
    return {
        "flows": counters.flows,
        "flow_table_flows": pipeline.open_flows,
        "flow_table_size": pipeline.limits.flows,
        "evicted": {
            **{name.removesuffix(EVICTED): getattr(counters, name) for name in EVICTION_COUNTERS},
            "windows": reporter.windows_evicted,
            "sightings": reporter.sightings_evicted,
            "watch": detector.watch.evicted,
            "clients": detector.clients.evicted,
            "auxiliaries": detector.auxiliaries.evicted,
            "candidates": detector.candidates.evicted,
            "flow_map": source.flows_displaced,
            "sockets": source.sockets_hurried,
            "merge": source.packets_hurried,
            "directions": source.directions_evicted,
            "screen": screened.evicted,
            "screen_names": screened.names_evicted,
            **others,
        },
    }


def of_spool(spool: Spool, pending: Sequence[Event], now_ns: int) -> dict[str, Any]:
    """Return the fields of what waits for the database: on disk, and in memory (`pending`) for the disk."""
    since = [spool.oldest_ns or now_ns, *(pending[0].last_seen_ns for _ in pending[:1])]
    return {
        "spool_events": spool.waiting_events,
        "spool_octets": spool.waiting_octets,
        "pending_events": len(pending),
        "delivery_lag_ms": max(0, now_ns - min(since)) // NS_PER_MS,
    }
