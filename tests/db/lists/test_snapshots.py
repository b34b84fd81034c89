from concurrent.futures import ThreadPoolExecutor

from db.lists.snapshots import KEPT_A_LIST
from db.lists.values import SnapshotRow
from db.store import Store

S = 1_000_000_000


def publish(store: Store, name: str, digest: str, created_at_ns: int, body: bytes) -> SnapshotRow:
    return store.publish_snapshot(SnapshotRow(name, 1, created_at_ns, digest, body))


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
