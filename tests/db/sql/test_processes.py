import itertools
import os
import random
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import db
from db.store import Store, open_store
from db.values import EventCursor, EventFilter, FindingCursor, FindingFilter

ROOT = Path(db.__file__).parent.parent
WRITER = ROOT / "tests" / "support" / "store_writer.py"


def start_writer(path: Path, first: int, batches: int, size: int) -> subprocess.Popen[str]:
    command = [sys.executable, str(WRITER), str(path), str(first), str(batches), str(size)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def events_by_source(store: Store) -> Counter[str]:
    found: Counter[str] = Counter()
    after = None
    while page := store.events(EventFilter(), 5000, after):
        found.update(each.src_ip for each in page)
        after = EventCursor.of(page[-1])
    return found


def findings_by_source(store: Store) -> dict[str, tuple[int, int]]:
    found: dict[str, tuple[int, int]] = {}
    after = None
    while page := store.findings(FindingFilter(), 1000, after):
        found |= {each.src_ip: (each.events, each.sightings) for each in page}
        after = FindingCursor.of(page[-1])
    return found


def test_two_processes_write_while_a_third_reads(path: Path) -> None:
    with open_store(path) as store:
        writers = [start_writer(path, first, 60, 20) for first in (0, 30)]  # batches 30 to 59 are written by both
        seen = 0
        while any(writer.poll() is None for writer in writers):
            now_seen = sum(events_by_source(store).values())
            assert now_seen >= seen
            assert now_seen % 20 == 0, "a batch is seen whole or not at all"
            seen = now_seen
        outputs = [writer.communicate() for writer in writers]
        assert [errors for _, errors in outputs] == ["", ""]
        stored = [int(line.split()[1]) for output, _ in outputs for line in output.splitlines()]
        assert sum(stored) == 90 * 20, "each event was new to one of them"
        assert set(events_by_source(store).values()) == {20}
        assert set(findings_by_source(store).values()) == {(20, 40)}
        assert len(findings_by_source(store)) == 90


def test_a_killed_writer_leaves_whole_batches_and_all_it_acknowledged(path: Path) -> None:
    size, chance = 50, random.Random(7)
    acknowledged: set[int] = set()
    killed_at_work = 0
    for run in range(8):
        writer = start_writer(path, run * 1000, 1000, size)
        assert writer.stdout
        acknowledged.add(int(writer.stdout.readline().split()[0]))
        time.sleep(chance.random() * 0.3)
        writer.kill()
        acknowledged.update(
            int(line.split()[0]) for line in writer.communicate()[0].splitlines(keepends=True) if "\n" in line
        )
        killed_at_work += writer.returncode == -9
    assert killed_at_work == 8
    check(path, acknowledged, size)


def check(path: Path, acknowledged: set[int], size: int) -> None:
    with open_store(path) as store:
        found = events_by_source(store)
        assert set(found.values()) == {size}, "each batch is entirely there or not at all"
        assert {f"10.1.{batch >> 8}.{batch & 255}" for batch in acknowledged} <= set(found)
        assert findings_by_source(store) == dict.fromkeys(found, (size, 2 * size))
        sequences = [each.ingest_seq for each in store.ingested_after(0, 1_000_000)]
        assert all(earlier < later for earlier, later in itertools.pairwise(sequences))
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()
