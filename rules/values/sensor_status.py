"""What a sensor says of itself: written by the sensor, kept by the store, served by the API.

Lost packets are those that the kernel dropped, having no room for them, and those that the program shed. What the
filter keeps back on purpose is not lost; what a network card drops before the kernel sees it, nobody counts here.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from enum import StrEnum
from itertools import chain

import msgspec
from msgspec.structs import replace

SILENT_AFTER_NS = 30_000_000_000
BEHIND_MS = 2_000
SPOOL_LAG_MS = 10_000


class SensorState(StrEnum):
    """How a sensor does, the worst first."""

    SILENT = "silent"
    WAITING = "waiting"
    LOSING = "losing_packets"
    BEHIND = "behind"
    SPOOLING = "spool_filling"
    WATCHING = "watching"


class SensorStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A sensor's heartbeat; counters are totals since `started_at_ns`.

    `kernel_drops`: packets that passed the filter and found no room in ring or receive queue (PACKET_STATISTICS), on
    all interfaces; `interface_drops` by interface, since its socket was opened. `shed`: packets that the program
    gave up after an error of its own. `faults`: packets and names that such an error kept it from judging before
    packets are read, which cost no packet. `lost_last_minute`: dropped and shed, in the minute before the heartbeat.

    `buffer_fill` is the share (0 to 1) of the fullest ring or receive queue that waits to be read at the heartbeat,
    `buffer_fill_peak` the highest share at any read since the heartbeat before; at 1 the kernel drops.
    `lag_ms`: the age of the newest packet of a batch when the batch had been handled, the highest since then.

    `flows` were begun; the flow table holds `flow_table_flows` of at most `flow_table_size`. The filter's map has
    `flow_map_size` places (0: no such filter) and began `flow_map_opened` flows; `flow_map_turnover` is the share of
    the places that were taken since the heartbeat before. The kernel does not say what it forgets for them, but a flow
    is forgotten before it is idle only if the map turns over in less than its time. `evicted`: entries that left a
    full table, by the names in docs/architecture.md; `flow_map` is known only where the program filters.

    `name` is what people call the sensor, `site` where it stands; an older sensor says neither.

    `spool_events` and `spool_octets` wait on disk for the database, `pending_events` in memory for the disk;
    `delivery_lag_ms` is how long the oldest of them has waited.
    """

    sensor_id: str
    version: str
    hostname: str
    started_at_ns: int
    heartbeat_ns: int
    name: str = ""
    site: str = ""
    interfaces: tuple[str, ...] = ()
    engine: str = ""
    engine_reason: str = ""
    packets: int = 0
    octets: int = 0
    kernel_drops: int = 0
    interface_drops: dict[str, int] = {}
    shed: int = 0
    lost_last_minute: int = 0
    buffer_fill: float = 0.0
    buffer_fill_peak: float = 0.0
    lag_ms: int = 0
    malformed: int = 0
    faults: int = 0
    flows: int = 0
    flow_table_flows: int = 0
    flow_table_size: int = 0
    flow_map_opened: int = 0
    flow_map_size: int = 0
    flow_map_turnover: float = 0.0
    evicted: dict[str, int] = {}
    observations: int = 0
    unknown: int = 0
    events: int = 0
    spool_events: int = 0
    spool_octets: int = 0
    pending_events: int = 0
    delivery_lag_ms: int = 0
    spool_overflow: int = 0
    copies: int = 0  # packets that another interface had shown already
    policy_error: str = ""
    catalogue_version: str = ""
    is_remote: bool = False  # it takes its rules from an API
    rules_revision: str = ""  # of those that it took last
    workers: int = 1  # processes that share the work

    def state(self, now_ns: int) -> SensorState:
        """Return the worst that is true of the sensor at `now_ns`."""
        if now_ns - self.heartbeat_ns > SILENT_AFTER_NS:
            return SensorState.SILENT
        if not self.interfaces:
            return SensorState.WAITING
        if self.lost_last_minute:
            return SensorState.LOSING
        if self.lag_ms >= BEHIND_MS:
            return SensorState.BEHIND
        is_spooling = self.pending_events or self.delivery_lag_ms >= SPOOL_LAG_MS
        return SensorState.SPOOLING if is_spooling else SensorState.WATCHING


_TOTALS = (
    *("packets", "octets", "kernel_drops", "shed", "malformed", "flows", "flow_map_opened", "observations", "unknown"),
    *("faults", "events", "spool_overflow", "copies"),
)
_SUMS = (
    *("lost_last_minute", "flow_table_flows", "flow_table_size", "flow_map_size", "spool_events", "spool_octets"),
    "pending_events",
)
_PEAKS = ("buffer_fill", "buffer_fill_peak", "lag_ms", "flow_map_turnover", "delivery_lag_ms")
_BY_NAME = ("interface_drops", "evicted")


def as_one(living: Sequence[SensorStatus], ended: Sequence[SensorStatus] = ()) -> SensorStatus:
    """Return the status of a sensor whose workers said `living`; `ended` is the last word of those that ended.

    Totals are sums over all, so that none goes back. The heartbeat is the oldest, so that one silent worker shows.
    """
    everyone = (*ended, *living)
    summed = {name: sum(getattr(status, name) for status in everyone) for name in _TOTALS}
    summed |= {name: sum(getattr(status, name) for status in living) for name in _SUMS}
    return replace(
        living[0],
        started_at_ns=min(status.started_at_ns for status in everyone),
        heartbeat_ns=min(status.heartbeat_ns for status in living),
        interfaces=tuple(dict.fromkeys(chain.from_iterable(status.interfaces for status in living))),
        policy_error=next((status.policy_error for status in living if status.policy_error), ""),
        **summed,
        **{name: max(getattr(status, name) for status in living) for name in _PEAKS},
        **{name: _summed(getattr(status, name) for status in everyone) for name in _BY_NAME},
    )


def _summed(parts: Iterable[dict[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for part in parts:
        total.update(part)
    return dict(total)
