import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from stored_events import make_event

from sensor.reporting.spool import DAMAGED_SUFFIX, LISTED_AT_ONCE, SUFFIX, Spool, SpoolFull
from sensor.share import Share

WRITER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from stored_events import make_event
from sensor.share import Share
from sensor.reporting.spool import Spool
spool = Spool(Path(sys.argv[1]))
for number in range(100_000):
    spool.append([make_event(number), make_event(number + 1_000_000)])
    print(number, flush=True)
"""


def test_what_was_appended_comes_back_in_order_also_after_a_restart(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    batches = [[make_event(1)], [make_event(2), make_event(3)]]
    for batch in batches:
        spool.append(batch)
    again = Spool(tmp_path)
    assert [list(batch.events) for batch in again.batches()] == batches
    again.append([make_event(4)])
    assert len(list(again.batches())) == 3
    assert again.waiting_octets > spool.waiting_octets


def test_a_delivered_batch_is_gone(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.append([make_event(1)])
    for batch in spool.batches():
        spool.discard(batch)
    assert list(spool.batches()) == []
    assert spool.waiting_octets == 0


def test_what_waits_is_counted_in_events_and_dated_also_after_a_restart(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    assert (spool.waiting_events, spool.oldest_ns) == (0, None)
    began_ns = time.time_ns()
    spool.append([make_event(1)])
    spool.append([make_event(2), make_event(3)])
    (first, second) = sorted(tmp_path.iterdir())
    os.utime(first, ns=(0, began_ns - 60 * 10**9))
    for each in (spool, Spool(tmp_path)):
        batches = each.batches()
        next(batches)
        assert each.waiting_events == 3
        assert each.oldest_ns == began_ns - 60 * 10**9
    for batch in spool.batches():
        spool.discard(batch)
    assert (spool.waiting_events, spool.oldest_ns) == (0, None)
    assert not second.exists()


def test_a_damaged_file_does_not_count_as_waiting(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.append([make_event(1), make_event(2)])
    next(tmp_path.iterdir()).write_bytes(b"[{")
    again = Spool(tmp_path)
    assert list(again.batches()) == []
    assert (again.waiting_events, again.waiting_octets) == (0, 0)


def test_the_oldest_is_kept_when_the_limit_is_reached(tmp_path: Path) -> None:
    spool = Spool(tmp_path, limit_octets=10_000)
    with pytest.raises(SpoolFull, match="is the database away"):
        for number in range(100):
            spool.append([make_event(number)])
    kept = [batch.events[0] for batch in spool.batches()]
    assert kept[0] == make_event(0)
    assert spool.waiting_octets == 8_192


def test_small_batches_take_whole_disk_blocks(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    for number in range(3):
        spool.append([make_event(number)])
    assert spool.waiting_octets == Spool(tmp_path).waiting_octets == 3 * 4096


def test_more_batches_than_are_listed_at_once_come_in_order(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    for number in range(1, 2 * LISTED_AT_ONCE + 2):
        (tmp_path / f"{number:012d}{SUFFIX}").write_bytes(b"[]")
    assert [int(batch.path.stem) for batch in spool.batches()] == list(range(1, 2 * LISTED_AT_ONCE + 2))


def test_a_damaged_file_is_set_aside_not_deleted(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.append([make_event(1)])
    spool.append([make_event(2)])
    first = next(iter(spool.batches())).path
    first.write_bytes(b"[{")
    assert [batch.events[0] for batch in Spool(tmp_path).batches()] == [make_event(2)]
    assert first.with_suffix(DAMAGED_SUFFIX).exists()


def test_a_full_disk_keeps_what_is_there(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", disk], check=False).returncode:
        pytest.skip("mounting a small disk needs root")
    try:
        spool = Spool(disk / "spool")
        with pytest.raises(SpoolFull, match="No space left"):
            for number in range(1_000):
                spool.append([make_event(number)] * 20)
        assert next(batch.events[0] for batch in spool.batches()) == make_event(0)
        assert not list(spool.directory.glob("*.tmp"))
    finally:
        subprocess.run(["umount", disk], check=True)


def test_kill_at_any_moment_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    seeded = random.Random(7)
    support = Path(__file__).parents[2] / "support"
    for attempt in range(5):
        directory = tmp_path / str(attempt)
        argv = [sys.executable, "-c", WRITER, str(directory), str(support)]
        with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            writer.stdout.readline()
            time.sleep(seeded.uniform(0, 0.3))
            os.kill(writer.pid, signal.SIGKILL)
            acknowledged = [0, *map(int, writer.stdout.read().split())]
        batches = [batch.events for batch in Spool(directory).batches()]
        assert all(len(batch) == 2 for batch in batches)
        assert acknowledged[-1] + 1 <= len(batches) <= acknowledged[-1] + 2


def test_workers_share_a_directory_and_one_takes_over_what_another_left(tmp_path: Path) -> None:
    spools = [Spool(tmp_path, share=Share(number, 3)) for number in range(3)]
    for number, spool in enumerate(spools):
        spool.append([make_event(number)])
        (tmp_path / f"000000000009-1-{number}.tmp").touch()
    for number, spool in enumerate(spools):
        assert [batch.events for batch in spool.batches()] == [(make_event(number),)]
        assert spool.waiting_events == 1
    fewer = [Spool(tmp_path, share=Share(number, 2)) for number in range(2)]
    assert not list(tmp_path.glob("*.tmp"))
    assert {batch.events[0].event_id for batch in fewer[0].batches()} == {make_event(n).event_id for n in (0, 2)}
    assert [batch.events for batch in fewer[1].batches()] == [(make_event(1),)]
    fewer[0].append([make_event(4)])
    assert len(list(Spool(tmp_path).batches())) == 4
