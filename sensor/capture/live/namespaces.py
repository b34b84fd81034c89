"""Network namespaces that a sensor listens in, other than its own.

A socket stays in the namespace of the thread that made it, so a namespace is a thread that entered it once and does
there what it is asked to. Entering needs CAP_SYS_ADMIN (and CAP_SYS_PTRACE for the namespace of somebody else's
process), which an ordinary user's program gives up afterwards: interfaces that come and go need only CAP_NET_RAW.

A namespace lives as long as somebody is in it. The thread therefore leaves when the name is gone, or leads elsewhere.
What has the name by then is another namespace, to be entered with the rights of the first time.
"""

import ctypes
import errno
import os
import re
import select
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, TypeVar

import structlog

from sensor.errors import CaptureError

HOME = ""  # this process's own namespace
FOLDER = Path("/run/netns")  # where `ip netns add` puts names
CLONE_NEWNET = 0x40000000

CAP_SYS_PTRACE = 19
CAP_SYS_ADMIN = 21
TO_ENTER: Final = (CAP_SYS_ADMIN, CAP_SYS_PTRACE)

_CAPABILITY_VERSION_3 = 0x20080522
_WORD_BITS = 32
_PROCESS = re.compile(r"pid:(\d+)")

Result = TypeVar("Result")
_log = structlog.get_logger(__name__)


def split_name(name: str) -> tuple[str, str]:
    """Return the namespace and the interface of `NETNS/NAME`; the namespace of a mere `NAME` is `HOME`."""
    namespace, _, interface = name.rpartition("/")
    return namespace, interface


def full_name(namespace: str, interface: str) -> str:
    """Return the name by which events and the status call an interface."""
    return f"{namespace}/{interface}" if namespace else interface


def named_namespaces(explicit: Iterable[str], netns: Iterable[str]) -> set[str]:
    """Return the namespaces of interfaces `NAME` or `NETNS/NAME`, and `netns`, without `HOME`."""
    return {*(split_name(name)[0] for name in explicit), *netns} - {HOME}


class Namespace:
    """A namespace other than the process's own, entered. `name` is one of `ip netns`, `pid:N`, or a path.

    Raises:
        CaptureError: It cannot be entered; the message says what to do.
    """

    def __init__(self, name: str) -> None:
        process = _PROCESS.fullmatch(name)
        self._path = Path(f"/proc/{process[1]}/ns/net") if process else FOLDER / name
        self._process: int | None = None  # a pidfd, as its folder in /proc may not show without CAP_SYS_PTRACE
        self._thread = ThreadPoolExecutor(1, f"netns {name}")
        try:
            if process:
                self._process = os.pidfd_open(int(process[1]))
            self._identity = self.call(_enter, self._path)
        except OSError as error:
            self.close()
            raise CaptureError(_refusal(name, self._path, error)) from error

    def call(self, function: Callable[..., Result], *arguments: object) -> Result:
        """Return what `function(*arguments)` returns inside; sockets that it makes stay there."""
        return self._thread.submit(function, *arguments).result()

    def is_gone(self) -> bool:
        """Tell whether its name leads there no more."""
        if self._process is not None:
            return bool(select.select([self._process], [], [], 0)[0])  # it has ended
        try:
            return _identity(self._path.stat()) != self._identity
        except OSError:
            return True

    def close(self) -> None:
        """Let the thread end; sockets stay where they are."""
        self._thread.shutdown()
        if self._process is not None:
            os.close(self._process)
            self._process = None


class Namespaces:
    """The namespaces `names`, entered; and `HOME`, which always is.

    Raises:
        CaptureError: One cannot be entered; the message says what to do.
    """

    def __init__(self, *names: str) -> None:
        self._entered: dict[str, Namespace] = {}
        self._absent: dict[str, str] = {}  # why, one sentence each
        try:
            for name in names:
                if name not in self:
                    self._entered[name] = Namespace(name)
        except CaptureError:
            self.close()
            raise

    def __contains__(self, name: str) -> bool:
        """Tell whether it is possible to `call` in namespace `name` now."""
        return name == HOME or name in self._entered

    def __iter__(self) -> Iterator[str]:
        """Yield the names of all that can be called in."""
        yield HOME
        yield from self._entered

    @property
    def absent(self) -> tuple[str, ...]:
        """Return a sentence for each namespace that is gone, or that came back and could not be entered."""
        return tuple(self._absent.values())

    def call(self, name: str, function: Callable[..., Result], *arguments: object) -> Result:
        """Return what `function(*arguments)` returns in namespace `name`."""
        return function(*arguments) if name == HOME else self._entered[name].call(function, *arguments)

    def follow(self) -> set[str]:
        """Leave the namespaces that are gone, enter those that are back, and return the names of both.

        A process that ended does not come back: its number may be somebody else's.
        """
        gone = {name for name, namespace in self._entered.items() if namespace.is_gone()}
        for name in gone:
            self._entered.pop(name).close()
            self._note(name, f"the network namespace {name} is gone")
        return gone | {name for name in tuple(self._absent) if not _PROCESS.fullmatch(name) and self._try(name)}

    def close(self) -> None:
        """Let all threads end."""
        for namespace in self._entered.values():
            namespace.close()
        self._entered.clear()

    def _try(self, name: str) -> bool:
        """Enter `name` if it is there, and tell whether that worked."""
        if not (FOLDER / name).exists():
            return False
        try:
            self._entered[name] = Namespace(name)
        except CaptureError as error:
            self._note(name, f"the network namespace {name} was made again: {error}")
            return False
        del self._absent[name]
        _log.info("namespace_entered", namespace=name)
        return True

    def _note(self, name: str, reason: str) -> None:
        if self._absent.get(name) != reason:
            _log.warning("namespace_absent", reason=reason)
        self._absent[name] = reason


def give_up(*capabilities: int) -> None:
    """Take `capabilities` (capability.h) from the calling thread for good, and from the threads that it starts later.

    Raises:
        OSError: The kernel refused it.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    rows = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable of capabilities 0 to 31; then of the others
    if libc.capget(header, rows):
        raise OSError(ctypes.get_errno(), "capget")
    before = bytes(rows)
    for number in capabilities:
        first = 3 * (number // _WORD_BITS)
        for kind in range(first, first + 3):
            rows[kind] &= ~(1 << number % _WORD_BITS)
    if bytes(rows) != before and libc.capset(header, rows):  # which a service that never had them may not even call
        raise OSError(ctypes.get_errno(), "capset")


def _enter(path: Path) -> tuple[int, int]:
    """Put the calling thread into a namespace (os.setns needs Python 3.12) and return which it is.

    An ordinary user's thread then gives up the right to do so; root's would get it back.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    with path.open("rb") as file:
        if libc.setns(file.fileno(), CLONE_NEWNET):
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
        entered = _identity(os.fstat(file.fileno()))
    if os.geteuid():
        give_up(*TO_ENTER)
    return entered


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _refusal(name: str, path: Path, error: OSError) -> str:
    """Return why a namespace cannot be entered, and what to do."""
    if isinstance(error, PermissionError):
        rights = "CAP_SYS_ADMIN and CAP_SYS_PTRACE" if path.is_relative_to("/proc") else "CAP_SYS_ADMIN"
        return f"entering network namespace {name} needs {rights}: start the program as root, or see systemd/README.md"
    if isinstance(error, FileNotFoundError | ProcessLookupError | NotADirectoryError):
        return f"there is no network namespace {name} ({path}); `ip netns list` has names, pid:N is a process's"
    if error.errno == errno.EINVAL:
        return f"{path} is no network namespace"
    return f"cannot enter network namespace {name} ({path}): {error.strerror}"
