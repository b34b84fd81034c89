"""Networks of network namespaces for tests: hosts, cables between them, and code that runs on a host.

    with Network() as network:
        client, server = network.host("client"), network.host("server")
        network.cable(client, "eth0", server, "eth0")
        client.address("eth0", "192.0.2.1/24")
        server.address("eth0", "192.0.2.2/24")
        client.run(["ping", "-c1", "192.0.2.2"])

Namespaces have unique names and are deleted at the end, with the processes that `popen` started in them. Needs root.
"""

import contextlib
import ctypes
import itertools
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import pytest

CLONE_NEWNET = 0x40000000
RUN_TIMEOUT_S = 60
STOP_TIMEOUT_S = 20

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root")
_numbers = itertools.count()
Result = TypeVar("Result")


class Host:
    """A network namespace with its loopback up. Made by `Network.host`."""

    def __init__(self, name: str, namespace: str) -> None:
        self.name = name
        self.namespace = namespace
        self._processes: list[subprocess.Popen[Any]] = []
        _command(["ip", "netns", "add", namespace])
        try:
            self.ip("link set lo up")
            self.sysctl("net/ipv6/conf/all/accept_dad", 0)
            self.sysctl("net/ipv6/conf/default/accept_dad", 0)
            self.sysctl("net/ipv6/conf/default/router_solicitations", 0)
        except Exception:
            self.delete()
            raise

    def run(self, argv: Sequence[str], **options: Any) -> subprocess.CompletedProcess[str]:
        """The finished command; it raises CalledProcessError unless `check=False`, and output is captured as text."""
        settings = {"check": True, "text": True, "capture_output": True, "timeout": RUN_TIMEOUT_S} | options
        return subprocess.run(self._enter(argv), **settings)  # noqa: PLW1510 - `check` is among the settings

    def popen(self, argv: Sequence[str], **options: Any) -> subprocess.Popen[Any]:
        """The running command; it is ended with the network."""
        process = subprocess.Popen(self._enter(argv), **options)
        self._processes.append(process)
        return process

    def call(self, function: Callable[..., Result], *arguments: Any) -> Result:
        """What `function(*arguments)` returns in a thread on this host; sockets it makes stay on this host."""
        with ThreadPoolExecutor(1, initializer=self._join_thread) as thread:
            return thread.submit(function, *arguments).result()

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        """Let the calling thread be on this host for the length of a `with` statement."""
        with Path(f"/proc/self/task/{threading.get_native_id()}/ns/net").open("rb") as home:
            self._join_thread()
            try:
                yield
            finally:
                _set_namespace(home.fileno())

    def ip(self, command: str) -> None:
        """Run iproute2's `ip` with the words of `command`."""
        _command(["ip", "-netns", self.namespace, *command.split()])

    def address(self, interface: str, *prefixes: str) -> None:
        """Give `interface` addresses (`192.0.2.1/24`) and take it up."""
        for prefix in prefixes:
            self.ip(f"address add {prefix} dev {interface}")
        self.ip(f"link set {interface} up")

    def await_carrier(self, interface: str) -> None:
        """Return when `interface` sends: the kernel drops what is sent until some time after the carrier has come."""
        deadline_s = time.monotonic() + RUN_TIMEOUT_S
        while not self._sends(interface):
            assert time.monotonic() < deadline_s, f"{interface} of {self.name} has no carrier"
            time.sleep(0.005)

    def _sends(self, interface: str) -> bool:
        """Tell whether the queue of an interface is another than the one that drops everything."""
        words = _command(["ip", "-netns", self.namespace, "link", "show", "dev", interface]).split()
        return words[words.index("qdisc") + 1] != "noop" and words[words.index("state") + 1] == "UP"

    def sysctl(self, key: str, value: int) -> None:
        """Set `/proc/sys/<key>` as this host sees it."""
        self.call(Path("/proc/sys", key).write_text, str(value))

    def nameserver(self, address: str) -> None:
        """Have programs that `run` and `popen` start resolve names at `address`."""
        folder = self._settings()
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "resolv.conf").write_text(f"nameserver {address}\noptions timeout:5 attempts:3\n")

    def nft(self, ruleset: str) -> None:
        """Load nftables rules."""
        self.run(["nft", "-f", "-"], input=ruleset)

    def delete(self) -> None:
        """End the processes and delete the namespace."""
        for process in self._processes:
            _end(process)
        _command(["ip", "netns", "delete", self.namespace])
        shutil.rmtree(self._settings(), ignore_errors=True)

    def _enter(self, argv: Sequence[str]) -> list[str]:
        return ["ip", "netns", "exec", self.namespace, *argv]

    def _settings(self) -> Path:
        """The folder that `ip netns exec` lays over /etc."""
        return Path("/etc/netns", self.namespace)

    def _join_thread(self) -> None:
        with Path("/run/netns", self.namespace).open("rb") as namespace:
            _set_namespace(namespace.fileno())


class Network:
    """Hosts and the cables between them, all gone at the end of a `with` statement."""

    def __init__(self) -> None:
        self._prefix = f"mc-{os.getpid()}-{next(_numbers)}"
        self._hosts: list[Host] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.delete()

    def host(self, name: str) -> Host:
        """A new host without any interface but its loopback."""
        host = Host(name, f"{self._prefix}-{name}")
        self._hosts.append(host)
        return host

    def cable(self, one: Host, one_interface: str, other: Host, other_interface: str) -> None:
        """Join two hosts with a veth pair; both ends are up and send."""
        ends = f"peer name {other_interface} netns {other.namespace}"
        one.ip(f"link add {one_interface} type veth {ends}")
        one.ip(f"link set {one_interface} up")
        other.ip(f"link set {other_interface} up")
        one.await_carrier(one_interface)
        other.await_carrier(other_interface)

    def delete(self) -> None:
        """Delete every host; interfaces and cables go with them."""
        with contextlib.ExitStack() as stack:
            for host in self._hosts:
                stack.callback(host.delete)
        self._hosts.clear()


def _command(argv: Sequence[str]) -> str:
    return subprocess.run(argv, check=True, text=True, capture_output=True, timeout=RUN_TIMEOUT_S).stdout


def _end(process: subprocess.Popen[Any]) -> None:
    """Terminate a process, and kill it if it does not end; its pipes are closed."""
    with process:
        if process.poll() is not None:
            return
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()


def _set_namespace(descriptor: int) -> None:
    """Put the calling thread into a network namespace (os.setns needs Python 3.12)."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(descriptor, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns failed")
