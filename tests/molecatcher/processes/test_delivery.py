import sqlite3
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from empty_store import empty_store
from installation import wait_until
from netns import needs_root
from sqlalchemy import event
from stored_events import make_event

from db.store import Store
from db.values import EventFilter
from molecatcher.processes.delivery import MOST_EVENTS, REST_S, Delivery
from rules.values.sensor_status import SensorStatus
from sensor.reporting.spool import Spool

STATUS = SensorStatus(sensor_id="s", version="0", hostname="h", started_at_ns=1, heartbeat_ns=2)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with empty_store(tmp_path / "molecatcher.db", busy_timeout_ms=50) as opened:
        yield opened


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool")


def stored(store: Store) -> set[str]:
    return {row.event_id for row in store.events(EventFilter(), 500)}


def test_what_is_spooled_reaches_the_store_and_leaves_the_spool(spool: Spool, store: Store) -> None:
    spool.append([make_event(0)])
    delivery = Delivery(spool, store)
    delivery.start()
    for number in range(1, 20):
        spool.append([make_event(number)])
        delivery.notify(STATUS)
    wait_until(lambda: spool.waiting_octets == 0)
    delivery.stop()
    assert stored(store) == {make_event(number).event_id for number in range(20)}
    assert store.sensors() == [STATUS]


def test_a_stream_shares_a_transaction_a_second_and_what_comes_after_it_is_stored_at_once(
    spool: Spool, store: Store
) -> None:
    delivery = Delivery(spool, store)
    commits: list[float] = []
    event.listen(store._engine, "commit", lambda _: commits.append(time.monotonic()))
    delivery.start()
    number = 0
    while len(commits) < 2 or commits[-1] - commits[-2] < REST_S:
        spool.append([make_event(number := number + 1)])
        delivery.notify()
        time.sleep(0.05)
        assert number < 200
    took_s = REST_S
    for _ in range(5):  # a disk may be slow once
        time.sleep(2 * REST_S)
        began_s = time.monotonic()
        spool.append([make_event(number := number + 1)])
        delivery.notify()
        wait_until(lambda: spool.waiting_octets == 0)
        if (took_s := commits[-1] - began_s) < REST_S / 2:
            break
    delivery.stop()
    assert took_s < REST_S / 2


class StopsBehindTheLook(threading.Event):
    """Is set, and the delivery woken, right after it was looked at: as when `stop` comes in between."""

    delivery: Delivery

    def is_set(self) -> bool:
        was_set = super().is_set()
        self.set()
        self.delivery._wake.set()
        return was_set


def test_a_stop_that_comes_at_any_moment_ends_it(spool: Spool, store: Store) -> None:
    delivery = Delivery(spool, store)
    delivery._stopping = stopping = StopsBehindTheLook()
    delivery._thread.daemon = True
    stopping.delivery = delivery
    spool.append([make_event(0)])
    delivery.start()
    wait_until(lambda: not delivery.is_alive)
    assert stored(store) == {make_event(0).event_id}


def test_small_batches_share_a_transaction_and_large_ones_do_not(spool: Spool, store: Store) -> None:
    for size in (1, 1, MOST_EVENTS - 2, 1, MOST_EVENTS):
        start = spool.waiting_events
        spool.append([make_event(number) for number in range(start, start + size)])
    commits: list[object] = []
    event.listen(store._engine, "commit", commits.append)
    Delivery(spool, store)._deliver()
    assert len(commits) == 3
    assert spool.waiting_octets == 0
    assert store.last_ingest_seq() == 2 * MOST_EVENTS + 1


def test_stop_delivers_what_came_last_and_ends_at_once(spool: Spool, store: Store) -> None:
    delivery = Delivery(spool, store)
    delivery.start()
    spool.append([make_event(1)])
    started_s = time.monotonic()
    delivery.stop()
    assert time.monotonic() - started_s < 2
    assert not delivery._thread.is_alive()
    assert stored(store) == {make_event(1).event_id}


def test_while_the_database_is_away_events_wait_and_nothing_is_lost(tmp_path: Path, spool: Spool, store: Store) -> None:
    blocker = sqlite3.connect(tmp_path / "molecatcher.db", isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    delivery = Delivery(spool, store)
    delivery.start()
    spool.append([make_event(1)])
    delivery.notify()
    wait_until(lambda: delivery.counters["store_failures"] > 0)
    assert spool.waiting_octets > 0
    blocker.execute("ROLLBACK")
    blocker.close()
    wait_until(lambda: spool.waiting_octets == 0)
    delivery.stop()
    assert stored(store) == {make_event(1).event_id}


@needs_root
def test_a_spool_on_a_disk_that_becomes_read_only_is_tried_again(tmp_path: Path, store: Store) -> None:
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(folder)], check=True)
    try:
        spool = Spool(folder)
        spool.append([make_event(1)])
        subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
        delivery = Delivery(spool, store)
        delivery.start()
        wait_until(lambda: delivery.counters["store_failures"] > 0)
        subprocess.run(["mount", "-o", "remount,rw", str(folder)], check=True)
        wait_until(lambda: not list(folder.iterdir()))
        delivery.stop()
        assert spool.waiting_octets == 0
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)
    assert stored(store) == {make_event(1).event_id}


def test_a_heartbeat_that_could_not_be_stored_is_stored_later(tmp_path: Path, spool: Spool, store: Store) -> None:
    writer = sqlite3.connect(tmp_path / "molecatcher.db", isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    delivery = Delivery(spool, store)
    delivery.start()
    delivery.notify(STATUS)
    wait_until(lambda: delivery.counters["store_failures"] > 0)
    writer.execute("ROLLBACK")
    wait_until(lambda: store.sensors() == [STATUS])
    delivery.stop()
