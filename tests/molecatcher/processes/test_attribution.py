"""The process that names others' processes: one answers on a state directory; a second one takes nothing from it."""

import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

QUESTION = struct.pack("=QI", 1, 0)  # of an inode that no socket has


@contextmanager
def attribution(state: Path) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "molecatcher", "attribute", "--state", str(state)]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            process.terminate()


def test_a_second_one_is_refused_and_the_first_goes_on_answering(tmp_path: Path) -> None:
    path = tmp_path / "attribution.sock"
    with attribution(tmp_path):
        deadline_s = time.monotonic() + 60
        while not path.exists():
            assert time.monotonic() < deadline_s
            time.sleep(0.05)
        with attribution(tmp_path) as second:
            assert second.wait(60) == 1
            assert second.stderr is not None
            assert b"another attribution runs on" in second.stderr.read()
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as line:
            line.connect(str(path))
            line.send(QUESTION)
            assert line.recv(64) == b"null"
