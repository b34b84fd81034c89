import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from main_job import open_folder
from netns import needs_root

from sensor.attribution.process_service import ProcessClient, ProcessService
from sensor.attribution.processes import MAX_HOLDERS, ProcessTable
from sensor.attribution.sockets import Socket

NOBODY_UID = 65_534
HOLD = """
import os, socket, sys
held = socket.socket()
print(os.fstat(held.fileno()).st_ino, flush=True)
sys.stdin.read()
"""
READ = """
import os, sys
folder = sys.argv[1]
print(any(os.readlink(f"{folder}/{name}") == sys.argv[2] for name in os.listdir(folder)))
"""


@contextmanager
def holder(uid: int = os.getuid()) -> Iterator[tuple[int, Socket]]:
    """A process of user `uid` with a socket, and a token on its command line."""
    argv = ["/usr/bin/python3", "-c", HOLD, "--authtoken", "2hidden"]
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, user=uid, cwd="/")
    with process:
        assert process.stdin is not None
        assert process.stdout is not None
        inode = int(process.stdout.readline())
        yield process.pid, Socket(inode, uid)
        process.stdin.close()


def test_the_holder_of_a_socket_is_described() -> None:
    with holder() as (pid, wanted):
        found = ProcessTable().find(wanted)
    assert found is not None
    assert (found.pid, found.exe) == (pid, os.path.realpath("/usr/bin/python3"))
    assert found.process == "python3"
    assert found.cmdline is not None
    assert found.cmdline.startswith("/usr/bin/python3 -c ")
    assert found.cmdline.endswith("--authtoken ***")


def test_a_socket_made_by_somebody_else_is_found_as_well() -> None:
    with socket.socket() as held:
        found = ProcessTable().find(Socket(os.fstat(held.fileno()).st_ino, NOBODY_UID))
    assert found is not None
    assert found.pid == os.getpid()


def test_a_process_that_ended_is_not_named_nor_who_has_its_number() -> None:
    table = ProcessTable()
    with holder() as (pid, wanted):
        assert table.find(wanted)
    assert table.find(wanted) is None
    with socket.socket() as held:  # the number of the holder is now somebody else's: ours
        table._holders[wanted.inode] = os.getpid(), str(held.fileno())
        assert table.find(wanted) is None
        assert table.find(Socket(os.fstat(held.fileno()).st_ino, os.getuid())).pid == os.getpid()  # type: ignore[union-attr]
    assert pid != os.getpid()


def test_what_proc_holds_of_a_process_that_changes_meanwhile_is_not_believed(tmp_path: Path) -> None:
    """A folder as of /proc, whose descriptors never lead to the socket again after they were looked at once."""
    process = tmp_path / "7"
    (process / "fd").mkdir(parents=True)
    for name in ("comm", "cmdline", "cgroup"):
        (process / name).write_text("x")
    (process / "exe").symlink_to("/usr/bin/x")
    (process / "fd" / "3").symlink_to("socket:[42]")
    found = ProcessTable(str(tmp_path)).find(Socket(42, os.getuid()))
    assert found is not None
    assert found.exe == "/usr/bin/x"
    (process / "exe").unlink()
    assert ProcessTable(str(tmp_path)).find(Socket(42, os.getuid())) is None


@needs_root
@pytest.mark.parametrize(
    ("capabilities", "is_named"),
    [("", False), ("+sys_ptrace", False), ("+dac_read_search", False), ("+sys_ptrace,+dac_read_search", True)],
)
def test_naming_somebody_elses_process_takes_just_two_capabilities(capabilities: str, is_named: bool) -> None:
    only = ",".join(filter(None, ("-all", capabilities)))
    with holder(NOBODY_UID) as (pid, wanted):
        limits = [f"--inh-caps={only}", f"--ambient-caps={only}", f"--bounding-set={only}"]
        identity = ["setpriv", "--reuid=12345", "--regid=12345", "--clear-groups", *limits]
        argv = [*identity, "/usr/bin/python3", "-c", READ, f"/proc/{pid}/fd", f"socket:[{wanted.inode}]"]
        done = subprocess.run(argv, check=False, capture_output=True, text=True, cwd="/")
    assert (done.stdout.strip() == "True") is is_named


@contextmanager
def service(path: Path) -> Iterator[None]:
    """The service, answering in a thread."""
    answering = ProcessService(path)
    is_over = threading.Event()

    def answer() -> None:
        while not is_over.is_set():
            answering.turn(0.05)

    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(answer)
        try:
            yield
        finally:
            is_over.set()
            done.result()
    answering.close()


def test_the_service_answers_and_what_is_no_question_ends_the_line(tmp_path: Path) -> None:
    path = tmp_path / "attribution.sock"
    client = ProcessClient(path)
    with holder() as (pid, wanted), service(path):
        assert path.stat().st_mode & 0o777 == 0o600
        found = client.find(wanted)
        assert found is not None
        assert found.pid == pid
        assert client.find(Socket(1, 0)) is None
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as stranger:
            stranger.connect(str(path))
            stranger.send(b"x" * 4000)
            assert stranger.recv(10) == b""
        assert client.find(wanted) == found
        client.close()


@needs_root
def test_the_service_answers_nobody_else() -> None:
    ask = (
        "import socket, sys; line = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET); "
        "line.connect(sys.argv[1]); line.send(bytes(12)); print(line.recv(10))"
    )
    with open_folder() as folder, service(folder / "attribution.sock"):
        argv = ["/usr/bin/python3", "-c", ask, str(folder / "attribution.sock")]
        refused = subprocess.run(argv, check=False, capture_output=True, text=True, user=NOBODY_UID, cwd="/")
        (folder / "attribution.sock").chmod(0o666)
        hung_up = subprocess.run(argv, check=False, capture_output=True, text=True, user=NOBODY_UID, cwd="/")
    assert "PermissionError" in refused.stderr
    assert "null" not in hung_up.stdout
    assert hung_up.stdout == "b''\n" or "BrokenPipeError" in hung_up.stderr or "ConnectionReset" in hung_up.stderr


def test_without_the_service_own_processes_are_named(tmp_path: Path) -> None:
    client = ProcessClient(tmp_path / "nothing")
    with holder() as (pid, wanted):
        found = client.find(wanted)
    assert found is not None
    assert found.pid == pid


def test_what_a_search_saw_and_who_was_found_last_is_looked_at_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second socket of a process takes no second search; one that it makes later neither."""
    table = ProcessTable()
    searches: list[str] = []
    listed = os.listdir
    monkeypatch.setattr(os, "listdir", lambda path: searches.append(path) or listed(path))  # type: ignore[func-returns-value]
    with socket.socket() as first, socket.socket() as second:
        for held in (first, second):
            found = table.find(Socket(os.fstat(held.fileno()).st_ino, os.getuid()))
            assert found is not None
            assert found.pid == os.getpid()
        with socket.socket() as later:
            found = table.find(Socket(os.fstat(later.fileno()).st_ino, os.getuid()))
            assert found is not None
            assert found.pid == os.getpid()
    assert searches.count("/proc") == 1


def test_what_is_remembered_is_bounded() -> None:
    table = ProcessTable()
    table._remember(dict.fromkeys(range(10_000), "3"), 1)
    assert len(table._holders) == MAX_HOLDERS
    for pid in range(10):
        table._note(pid)
    assert list(table._recent) == [6, 7, 8, 9]


def test_a_search_goes_on_where_the_last_one_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes whose sockets were seen within a second are looked at last."""
    for pid in range(1, 7):
        (tmp_path / str(pid) / "fd").mkdir(parents=True)
        (tmp_path / str(pid) / "fd" / "3").symlink_to(f"socket:[{pid}]")
        (tmp_path / str(pid) / "exe").symlink_to("/usr/bin/x")
        for name in ("comm", "cmdline", "cgroup"):
            (tmp_path / str(pid) / name).write_text("x")
    table = ProcessTable(str(tmp_path))
    read: list[object] = []
    listed = os.listdir
    monkeypatch.setattr(os, "listdir", lambda path: read.append(path) or listed(path))  # type: ignore[func-returns-value]
    found = [table.find(Socket(inode, os.getuid())) for inode in (3, 1, 5)]
    assert [process.pid for process in found if process is not None] == [3, 1, 5]
    assert len([path for path in read if path != str(tmp_path)]) == 4 + 1 + 2  # 6 to 3; 3, which was found; 2 and 1
