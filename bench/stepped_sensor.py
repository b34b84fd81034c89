"""`molecatcher sensor` with each thread's CPU clock read around each step: `python stepped_sensor.py FILE sensor ...`.

SIGUSR1 begins to count anew, SIGUSR2 writes microseconds by thread and step to FILE as JSON. What one step spends in
another is the other's. Reading the clocks takes some 2 us a step, half of it in what is no step (`rest`).
"""

import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from db.store import Store
from molecatcher.cli import main
from molecatcher.overlay import OverlayFollower
from molecatcher.processes import sensor as process
from molecatcher.processes.health import Health
from sensor.attribution.attributor import Attributor
from sensor.capture.live.live import LiveSource
from sensor.detection.detect import Detector
from sensor.detection.watch import Watch
from sensor.reporting.gathered import Gathered
from sensor.reporting.report import Reporter
from sensor.reporting.spool import Spool

REST = "rest"
STEPS = (
    (LiveSource, "read", "packets"),
    (Attributor, "ask", "attribution"),
    (Attributor, "answers", "attribution"),
    (Attributor, "_find", "attribution"),
    (Health, "note_losses", "losses"),
    (Reporter, "take", "events"),
    (Reporter, "attribute", "events"),
    (Reporter, "expire", "events"),
    (Reporter, "update", "watch"),
    (Watch, "look", "watch"),
    (Gathered, "add", "evidence"),
    (Gathered, "with_packets", "evidence"),
    (process.Sensor, "keep", "spool"),
    (process.Sensor, "_keep_house", "housekeeping"),
    (process.Sensor, "_beat", "heartbeat"),
    (Spool, "batches", "spool"),
    (Spool, "discard", "spool"),
    (Store, "append", "store"),
    (Store, "save_heartbeat", "heartbeat"),
    (OverlayFollower, "step", "overlay"),
)


class Clocks:
    """Nanoseconds of CPU by thread and step."""

    def __init__(self) -> None:
        self._spent: dict[tuple[int, str], int] = {}
        self._inner: dict[int, int] = {}
        self._began = threads()

    def around(self, step: str, call: Callable[..., Any]) -> Callable[..., Any]:
        """Return `call` with what it spends counted as that of `step`."""

        def timed(*given: Any, **named: Any) -> Any:
            thread = threading.get_ident()
            outer, self._inner[thread] = self._inner.get(thread, 0), 0
            began_ns = time.thread_time_ns()
            try:
                return call(*given, **named)
            finally:
                took_ns = time.thread_time_ns() - began_ns
                key = thread, step
                self._spent[key] = self._spent.get(key, 0) + took_ns - self._inner[thread]
                self._inner[thread] = outer + took_ns

        return timed

    def begin(self) -> None:
        """Forget what was counted."""
        self._spent.clear()
        self._began = threads()

    def report(self) -> dict[str, dict[str, float]]:
        """Return the microseconds of each step, and of what is none, by the name of the thread."""
        found: dict[str, dict[str, float]] = {}
        for thread, (name, spent_ns) in threads().items():
            steps = {step: spent for (of, step), spent in self._spent.items() if of == thread}
            steps[REST] = spent_ns - self._began.get(thread, (name, 0))[1] - sum(steps.values())
            found[name] = {step: spent / 1000 for step, spent in steps.items()}
        return found


class SteppedDetector:
    """A detector, compiled or not, with its steps timed."""

    def __init__(self, clocks: Clocks, *given: Any) -> None:
        self._detector = Detector(*given)
        self.feed_counted = clocks.around("heads", self._detector.feed_counted)
        self.advance = clocks.around("due with time", self._detector.advance)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._detector, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "agent_addresses":
            self._detector.agent_addresses = value
        else:
            object.__setattr__(self, name, value)


def threads() -> dict[int, tuple[str, int]]:
    """Return the name and the CPU nanoseconds so far of each thread."""
    running = ((each.ident, each.name) for each in threading.enumerate())
    return {
        ident: (name, time.clock_gettime_ns(time.pthread_getcpuclockid(ident)))
        for ident, name in running
        if ident is not None
    }


def run(output: Path) -> None:
    """Time the steps and run the command line."""
    clocks = Clocks()
    for owner, name, step in STEPS:
        call = getattr(owner, name)
        setattr(owner, name, clocks.around(step, _listed(call) if name == "batches" else call))
    process.Detector = lambda *given: SteppedDetector(clocks, *given)  # type: ignore[assignment, attr-defined]
    signal.signal(signal.SIGUSR1, lambda *_: clocks.begin())
    signal.signal(signal.SIGUSR2, lambda *_: output.write_bytes(msgspec.json.encode(clocks.report())))
    main()


def _listed(call: Callable[..., Any]) -> Callable[..., Any]:
    """Return `call` with all that it yields read at once, so that the reading is timed."""
    return lambda *given: list(call(*given))


if __name__ == "__main__":
    run(Path(sys.argv.pop(1)))
