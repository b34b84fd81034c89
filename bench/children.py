"""What a child process costs: CPU seconds of it and its descendants, and the memory that they held at most."""

import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

POLL_S = 0.02


@dataclass(frozen=True, slots=True)
class Cost:
    """CPU seconds (user and system, by getrusage), peak resident MiB, wall seconds and the exit status."""

    cpu_s: float
    peak_mib: float
    wall_s: float
    status: int


def run(command: list[str], output: Path) -> Cost:
    """Run `command` with its standard output in `output` and its messages beside it; return what it cost.

    The peak is polled (VmHWM of the process tree): ru_maxrss would begin with that of this process.
    """
    started, peak_kb = time.monotonic(), 0
    with output.open("wb") as stream, output.with_suffix(".log").open("wb") as log:
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=stream, stderr=log)
        while os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            peak_kb = max(peak_kb, tree_peak_kb(child.pid))
            time.sleep(POLL_S)
        _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    wall_s = time.monotonic() - started
    return Cost(usage.ru_utime + usage.ru_stime, peak_kb / 1024, wall_s, child.returncode)


def tree_peak_kb(pid: int) -> int:
    """Return the most KiB that the process and its children, each alone, have held; 0 of what has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    except OSError:  # it has just ended
        return 0
    own = next((int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")), 0)
    return own + sum(tree_peak_kb(int(child)) for child in children)
