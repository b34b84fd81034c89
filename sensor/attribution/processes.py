"""The process that holds a socket, searched for in /proc (proc(5)).

Reading another user's process takes CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH; without them only own processes are found.
"""

import os
import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import Final

from rules.values.source import Process
from sensor.attribution.containers import container_of
from sensor.attribution.redact import redact
from sensor.attribution.sockets import Socket

MAX_HOLDERS: Final = 4096
MAX_DESCRIPTORS: Final = 16_384
FEW_DESCRIPTORS: Final = 256
MAX_RECENT: Final = 4
MAX_DESCRIBED: Final = 256
LATELY_S: Final = 1.0
SOCKET: Final = "socket:["
SEARCH_S: Final = 0.5
READ_OCTETS: Final = 16_384
ROOT: Final = 0


class ProcessTable:
    """Finds processes; the holders of at most 4,096 sockets are remembered. One thread at a time may ask.

    A search looks at the four processes found last, then at all, the newest ones of the socket's user first, and last
    at those whose sockets were seen within a second; it ends after 0.5 s. Other sockets that it sees (those of
    processes with few descriptors) are remembered, too: the next question is often about one of them. With 200
    processes a search costs some 2 ms, a remembered socket 0.03 ms.
    """

    def __init__(self, folder: str = "/proc") -> None:
        self._folder = folder
        self._holders: OrderedDict[int, tuple[int, str]] = OrderedDict()  # inode: pid and descriptor
        self._recent: OrderedDict[int, None] = OrderedDict()  # pids, the one found last at the end
        self._read_at: dict[int, float] = {}  # by pid, when its sockets were seen
        self._described: dict[int, tuple[float, Process]] = {}  # by pid, and until when that may be taken

    def find(self, wanted: Socket) -> Process | None:
        """Return the process that holds a socket; None if there is none any more, or it may not be seen."""
        until_s = time.monotonic() + SEARCH_S
        for pid in self._candidates(wanted):
            found = self._read_if_holder(pid, wanted.inode)
            if found is not None:
                self._note(pid)
                return found
            if time.monotonic() > until_s:
                break
        self._holders.pop(wanted.inode, None)
        return None

    def _candidates(self, wanted: Socket) -> Iterator[int]:
        known = self._holders.get(wanted.inode)
        if known is not None:
            yield known[0]
        yield from reversed(list(self._recent))
        pids = sorted((int(name) for name in os.listdir(self._folder) if name.isdecimal()), reverse=True)  # noqa: PTH208 - no Path objects
        owned = {pid for pid in pids if self._owner(pid) in (wanted.uid, ROOT)}  # root's: may not dump core
        since_s = time.monotonic() - LATELY_S
        self._read_at = {pid: at_s for pid, at_s in self._read_at.items() if at_s > since_s}
        yield from sorted(pids, key=lambda pid: (pid in self._read_at, pid not in owned))

    def _owner(self, pid: int) -> int | None:
        try:
            return os.stat(f"{self._folder}/{pid}").st_uid  # noqa: PTH116 - thousands of them: no Path objects
        except OSError:
            return None

    def _note(self, pid: int) -> None:
        """Look at that process first."""
        self._recent[pid] = None
        self._recent.move_to_end(pid)
        if len(self._recent) > MAX_RECENT:
            self._recent.popitem(last=False)

    def _read_if_holder(self, pid: int, inode: int) -> Process | None:
        """Return process `pid` if it holds the socket `inode`, before its description is read and after.

        All is read below one open directory, which fails once the process has ended, also when another gets its number.
        """
        try:
            process = os.open(f"{self._folder}/{pid}", os.O_RDONLY | os.O_DIRECTORY)
        except OSError:
            return None
        try:
            descriptor = self._descriptor(process, pid, inode)
            if descriptor is None:
                return None
            found = self._description(process, pid)
            still_holds = _target(process, descriptor) == f"{SOCKET}{inode}]" and _exe(process) == found.exe
        except OSError:
            return None
        else:
            return found if still_holds else None
        finally:
            os.close(process)

    def _description(self, process: int, pid: int) -> Process:
        """Return what process `pid` is, or was within the last second; reading it costs more than all the rest."""
        now_s = time.monotonic()
        until_s, known = self._described.get(pid, (0.0, None))
        if known is not None and until_s > now_s:
            return known
        found = _describe(process, pid)
        if len(self._described) >= MAX_DESCRIBED:
            self._described.clear()
        self._described[pid] = now_s + LATELY_S, found
        return found

    def _descriptor(self, process: int, pid: int, inode: int) -> str | None:
        """Return the descriptor that process `pid` holds the socket `inode` with."""
        known_pid, known = self._holders.get(inode, (0, ""))
        if known_pid == pid and _target(process, known) == f"{SOCKET}{inode}]":
            return known
        sockets = _sockets(process, inode)
        self._read_at[pid] = time.monotonic()
        self._remember(sockets, pid)
        descriptor = sockets.get(inode)
        if descriptor is not None:
            self._holders[inode] = pid, descriptor
            self._holders.move_to_end(inode)
        return descriptor

    def _remember(self, sockets: Mapping[int, str], pid: int) -> None:
        """Remember who holds `sockets`, by inode, unless a newer process does."""
        for inode, descriptor in sockets.items():
            self._holders.setdefault(inode, (pid, descriptor))
        while len(self._holders) > MAX_HOLDERS:
            self._holders.popitem(last=False)


def _sockets(process: int, wanted: int) -> dict[int, str]:
    """Return the descriptors of a process's sockets by inode: all of them if it has few, else that of `wanted`."""
    folder = os.open("fd", os.O_RDONLY | os.O_DIRECTORY, dir_fd=process)
    try:
        names = os.listdir(folder)  # noqa: PTH208 - an open folder
    finally:
        os.close(folder)
    if len(names) > FEW_DESCRIPTORS:
        target = f"{SOCKET}{wanted}]"
        name = next((name for name in names[:MAX_DESCRIPTORS] if _target(process, name) == target), None)
        return {} if name is None else {wanted: name}
    targets = ((_target(process, name) or "", name) for name in names)
    return {int(target[len(SOCKET) : -1]): name for target, name in targets if target.startswith(SOCKET)}


def _target(process: int, descriptor: str) -> str | None:
    try:
        return os.readlink(f"fd/{descriptor}", dir_fd=process)
    except FileNotFoundError:  # closed meanwhile
        return None


def _describe(process: int, pid: int) -> Process:
    return Process(
        process=_read(process, "comm").rstrip("\n") or None,
        exe=_exe(process),
        cmdline=redact(_read(process, "cmdline").rstrip("\0").split("\0")) or None,
        pid=pid,
        container=container_of(_read(process, "cgroup")),
    )


def _exe(process: int) -> str:
    return os.readlink("exe", dir_fd=process).encode("utf-8", "replace").decode()


def _read(process: int, name: str) -> str:
    file = os.open(name, os.O_RDONLY, dir_fd=process)
    try:
        return os.read(file, READ_OCTETS).decode("utf-8", "replace")
    finally:
        os.close(file)
