import sqlite3
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy.exc import OperationalError
from stored_events import make_event

from db.errors import StoreUnavailable, StoreUnusable
from db.sql.engine import explain
from db.store import open_store
from db.values import EventFilter, FindingFilter


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB; skipped where nothing may be mounted."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], check=False)
    if mount.returncode:
        pytest.skip("mounting a tmpfs needs root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def remount(folder: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", str(folder)], check=True)


def test_a_full_disk_keeps_what_was_written_and_takes_the_batch_later(small_disk: Path) -> None:
    with open_store(small_disk / "molecatcher.db") as store:
        written, refused = 0, []
        for start in range(0, 5000, 50):
            batch = [make_event(number) for number in range(start, start + 50)]
            try:
                written += store.append(batch).stored
            except StoreUnavailable as error:
                assert "disk" in str(error)  # noqa: PT017 - the loop ends here
                refused = batch
                break
        assert written
        assert refused
        assert len(store.events(EventFilter(), 5000)) == written
        assert store.findings(FindingFilter(), 10)[0].events == written
        remount(small_disk, "size=16m")
        assert store.append(refused).stored == 50
        assert store.is_writable()
        assert store.findings(FindingFilter(), 10)[0].events == written + 50


def test_a_full_disk_at_the_start(small_disk: Path) -> None:
    (small_disk / "ballast").write_bytes(bytes((1 << 20) - 8192))
    with pytest.raises(StoreUnavailable, match="disk"):
        open_store(small_disk / "molecatcher.db")
    (small_disk / "ballast").unlink()
    with open_store(small_disk / "molecatcher.db") as store:
        assert store.is_writable()


def test_a_read_only_disk_is_not_a_place_for_a_store(small_disk: Path) -> None:
    open_store(small_disk / "molecatcher.db").close()
    remount(small_disk, "ro")
    with pytest.raises((StoreUnusable, StoreUnavailable), match=r"not writable|cannot be opened"):
        open_store(small_disk / "molecatcher.db")


def test_a_locked_database_is_tried_again(path: Path) -> None:
    with open_store(path, busy_timeout_ms=50) as store:
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailable, match="locked by another process"):
            store.append([make_event(1)])
        assert not store.is_writable()
        assert store.events(EventFilter(), 10) == []
        other.execute("ROLLBACK")
        other.close()
        assert store.append([make_event(1)]).stored == 1


def test_a_write_waits_for_a_lock_that_is_soon_given_back(path: Path) -> None:
    with open_store(path) as store:
        other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        other.execute("BEGIN IMMEDIATE")
        release = threading.Timer(0.2, other.execute, ["ROLLBACK"])
        release.start()
        assert store.append([make_event(1)]).stored == 1
        release.join()
        other.close()


def test_too_many_readers_at_once_are_told_to_wait(path: Path) -> None:
    with open_store(path, busy_timeout_ms=50) as store:
        held = [store._engine.connect() for _ in range(15)]
        with pytest.raises(StoreUnavailable, match="in use"):
            store.events(EventFilter(), 10)
        for connection in held:
            connection.close()


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (sqlite3.SQLITE_BUSY_SNAPSHOT, StoreUnavailable),
        (sqlite3.SQLITE_FULL, StoreUnavailable),
        (sqlite3.SQLITE_IOERR_WRITE, StoreUnavailable),
        (sqlite3.SQLITE_CANTOPEN, StoreUnavailable),
        (sqlite3.SQLITE_CORRUPT_INDEX, StoreUnusable),
        (sqlite3.SQLITE_NOTADB, StoreUnusable),
        (sqlite3.SQLITE_READONLY_DBMOVED, StoreUnusable),
        (sqlite3.SQLITE_ERROR, StoreUnusable),
    ],
)
def test_an_error_says_where_it_is_and_never_what_was_written(code: int, expected: type[Exception]) -> None:
    cause = sqlite3.OperationalError("the driver's words")
    cause.sqlite_errorcode = code
    explained = explain(OperationalError("INSERT", {"dst_name": "private.example"}, cause), "/var/lib/x.db")
    assert type(explained) is expected
    assert "/var/lib/x.db" in str(explained)
    assert "private.example" not in str(explained)


def test_a_file_that_is_removed_takes_no_event_with_it(tmp_path: Path) -> None:
    path = tmp_path / "molecatcher.db"
    with open_store(path) as store:
        store.append([make_event(1)])
        path.rename(tmp_path / "away.db")
        with pytest.raises(StoreUnavailable, match="is gone"):
            store.append([make_event(2)])
        assert not store.is_writable()
        (tmp_path / "away.db").rename(path)
        assert store.append([make_event(2)]).stored == 1


def test_a_file_that_is_replaced_is_followed(tmp_path: Path) -> None:
    path, backup = tmp_path / "molecatcher.db", tmp_path / "backup.db"
    open_store(backup).close()
    with open_store(path) as store:
        store.append([make_event(1)])
        for suffix in ("-wal", "-shm"):
            path.with_name(path.name + suffix).unlink()
        backup.rename(path)
        assert store.append([make_event(2)]).stored == 1
    with open_store(path) as store:
        assert [event.event_id for event in store.events(EventFilter(), 9)] == [make_event(2).event_id]
