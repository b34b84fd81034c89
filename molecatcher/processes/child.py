"""A process that the supervisor keeps running, and what it says of itself through the service notification protocol."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Sequence

import structlog

log = structlog.get_logger()

SILENCE_S = 60.0
SHORTEST_WAIT_S = 0.5
LONGEST_WAIT_S = 10.0
STATUS = b"STATUS="
MESSAGE_OCTETS = 64 * 1024


class Child:
    """One supervised process. It is started again when it ends, ever later (0.5 s to 10 s) if it keeps ending.

    `NOTIFY_SOCKET` in its environment is a socket of ours (sd_notify(3)): READY=1 says that it has started, WATCHDOG=1
    that it lives; `said` is what it said last in STATUS. One that is silent for 60 s is killed.
    """

    def __init__(self, name: str, argv: Sequence[str], environment: dict[str, str]) -> None:
        self.name = name
        self.is_ready = False
        self.was_ready = False
        self.said = b""
        self._argv = list(argv)
        self._notices = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._notices.bind("")  # an unused abstract address, chosen by the kernel (unix(7), autobind)
        address = "@" + self._notices.getsockname()[1:].decode("ascii")
        watchdog = str(int(SILENCE_S * 1_000_000))
        self._environment = {**environment, "NOTIFY_SOCKET": address, "WATCHDOG_USEC": watchdog}
        self._environment.pop("WATCHDOG_PID", None)
        self._process: subprocess.Popen[bytes] | None = None
        self._wait_s = SHORTEST_WAIT_S
        self._start_at_s = 0.0
        self._heard_at_s = 0.0

    def start(self) -> None:
        """Start the process."""
        self.is_ready = False
        self._heard_at_s = time.monotonic()
        self._process = subprocess.Popen(self._argv, env=self._environment, stdin=subprocess.DEVNULL)
        log.info("process_started", process=self.name, pid=self._process.pid)

    def watch(self) -> int | None:
        """Keep the process running; return its exit status if it ended before it was ever ready."""
        self._listen()
        now_s = time.monotonic()
        if self._process is None:
            if now_s >= self._start_at_s:
                self.start()
            return None
        status = self._process.poll()
        if status is None:
            if now_s - self._heard_at_s > SILENCE_S:
                log.error("process_silent", process=self.name, pid=self._process.pid)
                self._process.kill()
            return None
        if not self.was_ready and status > 0:
            return status
        self._restart_later(status, now_s)
        return None

    def send(self, number: signal.Signals) -> None:
        """Send a signal if the process runs."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)

    def finish(self, timeout_s: float) -> None:
        """Wait until the process has ended, and hear its last word; after `timeout_s` it is killed."""
        if self._process is not None:
            try:
                self._process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._listen()
        self._notices.close()

    def _listen(self) -> None:
        while True:
            try:
                message = self._notices.recv(MESSAGE_OCTETS)
            except BlockingIOError:
                return
            self._heard_at_s = time.monotonic()
            lines = message.split(b"\n")
            self.said = next((line[len(STATUS) :] for line in lines if line.startswith(STATUS)), self.said)
            if b"READY=1" in lines:
                self.is_ready = self.was_ready = True
                self._wait_s = SHORTEST_WAIT_S

    def _restart_later(self, status: int, now_s: float) -> None:
        log.warning("process_ended", process=self.name, status=status, restart_s=self._wait_s)
        self._process = None
        self.is_ready = False
        self._start_at_s = now_s + self._wait_s
        self._wait_s = min(self._wait_s * 2, LONGEST_WAIT_S)


def inherited_environment(extra: dict[str, str]) -> dict[str, str]:
    """Return this process's environment for a child, with `extra`, without what is meant for this process alone."""
    own = {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID"}
    return {name: value for name, value in os.environ.items() if name not in own} | extra
