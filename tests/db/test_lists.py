from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec

from db.snapshots import KEPT_A_LIST
from db.store import Store
from db.values import Resolution, SnapshotRow
from rules.sensor_status import SensorStatus

S = 1_000_000_000


def publish(store: Store, name: str, digest: str, created_at_ns: int, body: bytes) -> SnapshotRow:
    return store.publish_snapshot(SnapshotRow(name, 1, created_at_ns, digest, body))


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


def test_snapshots_are_numbered_for_each_list(store: Store) -> None:
    assert store.latest_snapshot("domains") is None
    first = publish(store, "domains", "d1", 10 * S, b"one")
    assert first == SnapshotRow("domains", 1, 10 * S, "d1", b"one")
    assert publish(store, "addresses", "d1", 11 * S, b"other").serial == 1
    assert publish(store, "domains", "d2", 12 * S, b"two").serial == 2
    assert publish(store, "domains", "d1", 13 * S, b"one").serial == 3
    assert store.latest_snapshot("domains") == SnapshotRow("domains", 3, 13 * S, "d1", b"one")


def test_the_same_list_is_not_published_twice(store: Store) -> None:
    first = publish(store, "domains", "d1", 10, b"one")
    assert publish(store, "domains", "d1", 20, b"one") == first
    assert store.latest_snapshot("domains") == first


def test_lists_of_one_moment_differ_by_the_second(store: Store) -> None:
    at_ns = [10 * S, 10 * S + 5, 10 * S + 6, 9000 * S, 20 * S]  # in the end a clock that was ahead is set right
    published = [publish(store, "domains", f"d{at}", ns, b"") for at, ns in enumerate(at_ns)]
    assert [row.created_at_ns // S for row in published] == [10, 11, 12, 9000, 20]


def test_lists_published_at_once_get_a_serial_each(store: Store) -> None:
    with ThreadPoolExecutor(4) as pool:
        published = pool.map(lambda number: publish(store, "domains", f"d{number}", number, b""), range(60))
        assert sorted(each.serial for each in published) == list(range(1, 61))


def test_old_snapshots_go_and_serials_go_on(store: Store) -> None:
    for serial in range(1, KEPT_A_LIST + 11):
        publish(store, "domains", f"d{serial}", serial, b"")
    publish(store, "addresses", "d", 1, b"")
    with store._engine.connect() as connection:
        serials = connection.exec_driver_sql("SELECT serial FROM snapshots WHERE list_name = 'domains' ORDER BY serial")
        assert [row[0] for row in serials] == list(range(11, KEPT_A_LIST + 11))


def test_the_newest_heartbeat_of_each_sensor_is_kept(store: Store) -> None:
    store.save_heartbeat(heartbeat(10))
    store.save_heartbeat(heartbeat(30))
    store.save_heartbeat(heartbeat(20))
    store.save_heartbeat(heartbeat(5, sensor_id="branch"))
    assert store.sensors() == [heartbeat(5, sensor_id="branch"), heartbeat(30)]


def test_the_last_good_answer_outlives_failures(store: Store) -> None:
    good = Resolution("tunnel.example", ("192.0.2.1", "2001:db8::1"), 10, ok=True)
    store.save_resolution(good, Resolution("gone.example", (), 11, ok=False))
    store.save_resolution(Resolution("tunnel.example", (), 20, ok=False))
    assert store.resolutions() == [
        Resolution("gone.example", (), 0, ok=False),
        Resolution("tunnel.example", good.addresses, 10, ok=False),
    ]
    newer = Resolution("tunnel.example", ("192.0.2.2",), 30, ok=True)
    store.save_resolution(newer)
    store.save_resolution(good)
    assert store.resolutions()[1] == newer


def test_a_name_that_first_failed_may_resolve_later(store: Store) -> None:
    store.save_resolution(Resolution("slow.example", (), 50, ok=False))
    found = Resolution("slow.example", ("192.0.2.1",), 40, ok=True)
    store.save_resolution(found)
    assert store.resolutions() == [found]


def test_what_a_clock_ahead_left_behind_is_replaced(store: Store) -> None:
    store.save_heartbeat(heartbeat(9000 * S))
    store.save_heartbeat(heartbeat(20 * S))
    assert store.sensors() == [heartbeat(20 * S)]
    store.save_resolution(Resolution("tunnel.example", ("192.0.2.1",), 9000 * S, ok=True))
    store.save_resolution(Resolution("tunnel.example", (), 19 * S, ok=False))
    assert store.resolutions()[0].addresses == ("192.0.2.1",)
    now = Resolution("tunnel.example", ("192.0.2.2",), 20 * S, ok=True)
    store.save_resolution(now)
    assert store.resolutions() == [now]


def test_a_serial_from_before_the_database_was_lost_is_not_used_again(store: Store) -> None:
    serials = [
        store.publish_snapshot(SnapshotRow("domains", serial, serial * S, "d1", b"one")).serial
        for serial in (8, 8, 7, 20)
    ]
    assert serials == [8, 8, 8, 20]
    assert [row.serial for row in store.snapshots("domains")] == [20, 8]
    kept = store.snapshot("domains", 8)
    assert kept is not None
    assert kept.body == b"one"
    assert store.snapshot("domains", 9) is None
