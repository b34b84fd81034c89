from typing import Any

import msgspec

from db.store import Store
from rules.values.sensor_status import SensorStatus

S = 1_000_000_000


def heartbeat(at_ns: int, **changes: Any) -> SensorStatus:
    status = SensorStatus(
        sensor_id="gateway-1",
        version="0.1.0",
        hostname="gw",
        started_at_ns=1,
        heartbeat_ns=at_ns,
        interfaces=("eth0", "eth1"),
        packets=at_ns,
    )
    return msgspec.structs.replace(status, **changes)


def test_the_newest_heartbeat_of_each_sensor_is_kept(store: Store) -> None:
    store.save_heartbeat(heartbeat(10))
    store.save_heartbeat(heartbeat(30))
    store.save_heartbeat(heartbeat(20))
    store.save_heartbeat(heartbeat(5, sensor_id="branch"))
    assert store.sensors() == [heartbeat(5, sensor_id="branch"), heartbeat(30)]


def test_what_a_clock_ahead_left_behind_is_replaced(store: Store) -> None:
    store.save_heartbeat(heartbeat(9000 * S))
    store.save_heartbeat(heartbeat(20 * S))
    assert store.sensors() == [heartbeat(20 * S)]
