"""What a sensor says of itself: written by the sensor, kept by the store, served by the API."""

import msgspec


class SensorStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A sensor's heartbeat; counters are totals since `started_at_ns`."""

    sensor_id: str
    version: str
    hostname: str
    started_at_ns: int
    heartbeat_ns: int
    interfaces: tuple[str, ...] = ()
    engine: str = ""
    engine_reason: str = ""
    packets: int = 0
    octets: int = 0
    kernel_drops: int = 0
    shed: int = 0
    malformed: int = 0
    flows: int = 0
    observations: int = 0
    unknown: int = 0
    events: int = 0
    spool_events: int = 0
    spool_overflow: int = 0
    copies: int = 0  # packets that another interface had shown already
    policy_error: str = ""
