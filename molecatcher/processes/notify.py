"""Tells the service manager how this process does: sd_notify(3) without libsystemd."""

import os
import socket
import time
from collections.abc import Mapping


class Notifier:
    """Sends state to `NOTIFY_SOCKET`; without one, or when nobody listens there, every method does nothing."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        address = environment.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self.watchdog_s = _watchdog_s(environment)
        self._alive_due_s = 0.0

    def ready(self) -> None:
        """The start is complete."""
        self._send("READY=1")

    def stopping(self) -> None:
        """The process is about to end."""
        self._send("STOPPING=1")

    def status(self, text: str) -> None:
        """One line for people who ask the service manager."""
        self._send("STATUS=" + text.replace("\n", " "))

    def alive(self) -> None:
        """Feed the watchdog, if there is one, at most twice in its interval; call it as often as you like (0.2 us)."""
        if self.watchdog_s is None or time.monotonic() < self._alive_due_s:
            return
        self._alive_due_s = time.monotonic() + self.watchdog_s / 2
        self._send("WATCHDOG=1")

    def _send(self, message: str) -> None:
        if not self._address:
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sock:
            try:
                sock.sendto(message.encode(), self._address)
            except OSError:
                return  # nobody listens any more, or its queue is full: the service must run on


def _watchdog_s(environment: Mapping[str, str]) -> float | None:
    """The interval in which the watchdog must be fed, in seconds; None if there is none or it is another process's."""
    interval, process = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID", "")
    if not interval.isdecimal() or int(interval) == 0 or process not in {"", str(os.getpid())}:
        return None
    return int(interval) / 1_000_000
