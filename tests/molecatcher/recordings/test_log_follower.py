import gzip
import io
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from molecatcher.errors import MolecatcherError
from molecatcher.recordings.log_follower import MAX_LINE_OCTETS, LogFollower, Position, read_whole

Follow = Callable[..., LogFollower]


def _lines(follower: LogFollower) -> list[bytes]:
    return [line for batch in follower.batches() for line in batch]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "access.log"
    path.write_bytes(b"one\ntwo\r\nthr")
    return path


@pytest.fixture
def follow() -> Iterator[Follow]:
    with ExitStack() as stack:

        def open_one(path: Path, position: Position | None = None) -> LogFollower:
            return stack.enter_context(closing(LogFollower(path, position)))

        yield open_one


def _append(path: Path, octets: bytes) -> None:
    with path.open("ab") as file:
        file.write(octets)


def test_a_line_is_read_when_it_is_complete(follow: Follow, log: Path) -> None:
    follower = follow(log)
    assert _lines(follower) == [b"one", b"two"]
    assert _lines(follower) == []
    _append(log, b"ee\nfour\n")
    assert _lines(follower) == [b"three", b"four"]


def test_a_renamed_file_is_read_to_its_end_first(follow: Follow, log: Path) -> None:
    follower = follow(log)
    assert _lines(follower) == [b"one", b"two"]
    old = log.rename(log.with_suffix(".1"))
    _append(old, b"ee\nlast, without an end")
    assert _lines(follower) == [b"three"]
    log.write_bytes(b"new\n")
    assert _lines(follower) == [b"last, without an end", b"new"]


def test_a_cut_file_is_read_from_its_start(follow: Follow, log: Path) -> None:
    follower = follow(log)
    _lines(follower)
    log.write_bytes(b"new\n")
    assert _lines(follower) == [b"new"]


@pytest.mark.parametrize("read_first", [True, False])
def test_a_position_goes_on_where_it_was(follow: Follow, log: Path, read_first: bool) -> None:
    before = follow(log)
    if read_first:
        _lines(before)
    after = follow(log, before.position())
    _append(log, b"ee\n")
    assert _lines(after) == ([] if read_first else [b"one", b"two"]) + [b"three"]


def test_a_position_in_another_file_begins_at_the_start(follow: Follow, log: Path) -> None:
    before = follow(log)
    _lines(before)
    position = before.position()
    log.write_bytes(b"another beginning, and as long\n")  # the same inode, as with copytruncate
    assert _lines(follow(log, position)) == [b"another beginning, and as long"]


def test_what_is_too_long_for_a_line_is_counted(follow: Follow, log: Path) -> None:
    log.write_bytes(b"one\n" + b"x" * (3 << 20) + b"\ntwo\n" + b"y" * (MAX_LINE_OCTETS + 1) + b"\nthree\n")
    follower = follow(log)
    assert _lines(follower) == [b"one", b"two", b"three"]
    assert follower.too_long == 2


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(MolecatcherError, match="cannot be read: No such file"):
        LogFollower(tmp_path / "missing.log")


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_stream_is_read_to_its_end(pack: type[bytes]) -> None:
    longest = b"y" * MAX_LINE_OCTETS
    octets = b"one\r\n" + b"x" * (MAX_LINE_OCTETS * 2) + b"\n\n" + longest + b"\n" + longest + b"y\ntwo"
    too_long: list[None] = []
    lines = read_whole(io.BufferedReader(io.BytesIO(pack(octets))), lambda: too_long.append(None))
    assert list(lines) == [b"one", b"", longest, b"two"]
    assert len(too_long) == 2
