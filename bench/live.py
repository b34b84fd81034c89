"""Molecatcher beside Suricata on a wire: CPU per packet, what each loses and finds, and its memory.

    make bench-setup && make bench-live      (ARGS="--packets 200000 --rounds 1" for a quick look)

A sender in one network namespace floods a receiver in another over a veth pair with the mix of bench/mix.py, every
frame once, as fast as it can; sender and receiver have a core each. Receivers take turns, and so does nobody: what the
sender's CPU is above that is the kernel's work for the receiver (veth delivers, filters and copies in the sender's
context). Figures are medians of the rounds; only their ratios mean anything. Needs root and two cores.
"""

import argparse
import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from chart import bar_chart
from children import tree_peak_kb
from peers import molecatcher, suricata
from peers.live import Outcome, Receiver
from peers.program import Ends, Work
from truth import Truth, make_mix, read_truth
from veth import INTERFACE, veth, within

SENDER_CORE, RECEIVER_CORE = "0", "1"
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 60.0
TAIL_S = 4.0  # after the last frame: the sensor's alarms come 3 s later
QUIET_S = 1.0
MOST_S = 60.0
CPUCLOCK_SCHED = 2  # Linux, include/linux/posix-timers.h: what the scheduler has counted
RIVALS = ("Suricata, tuned", "Suricata, tuned, large ring")


@dataclass(frozen=True, slots=True)
class Sent:
    """What the sender sent, in how many seconds, and its CPU seconds."""

    frames: int
    seconds: float
    cpu_s: float


@dataclass(frozen=True, slots=True)
class Round:
    """One flood: the sender's figures, the receiver's CPU seconds (user, system), its peak MiB and what came of it."""

    sent: Sent
    user_s: float = 0.0
    system_s: float = 0.0
    peak_mib: float = 0.0
    outcome: Outcome | None = None


@dataclass(slots=True)
class Result:
    """A receiver (None: nobody listens) and its rounds."""

    receiver: Receiver | None
    rounds: list[Round] = field(default_factory=list)

    @property
    def name(self) -> str:
        """Return the name of the row."""
        return self.receiver.name if self.receiver is not None else "nobody"

    @property
    def found(self) -> set[Ends] | None:
        """Return what was found in every round; None if nobody looked."""
        outcomes = [row.outcome for row in self.rounds if row.outcome is not None]
        return set.intersection(*(outcome.found for outcome in outcomes)) if outcomes else None

    @property
    def process_us(self) -> float:
        """Return the receiver's CPU microseconds a packet offered."""
        return self.user_us + self.system_us

    @property
    def user_us(self) -> float:
        """Return the part of it in user space."""
        return median(row.user_s / row.sent.frames for row in self.rounds) * 1e6

    @property
    def system_us(self) -> float:
        """Return the part of it in system calls."""
        return median(row.system_s / row.sent.frames for row in self.rounds) * 1e6

    @property
    def sender_us(self) -> float:
        """Return the sender's CPU microseconds a packet."""
        return median(row.sent.cpu_s / row.sent.frames for row in self.rounds) * 1e6


def present(wanted: str) -> list[Result]:
    """Return nobody and the receivers in whose names the expression `wanted` is found; who is missing is named."""
    results = [Result(None)]
    for receiver in (*molecatcher.RECEIVERS, *suricata.RECEIVERS):
        version = receiver.version()
        if version is None:
            print(f"skipped: {receiver.name} is not installed (make bench-setup)")
        elif re.search(wanted, receiver.name):
            print(f"* {receiver.name}: {version}")
            results.append(Result(receiver))
    return results


def build_sender(folder: Path) -> Path:
    """Return the sender's program, compiled."""
    program = folder / "flood"
    source = Path(__file__).with_name("flood.c")
    subprocess.run(["cc", "-O2", "-Wall", "-Wextra", "-Werror", "-o", str(program), str(source)], check=True)
    return program


def send(sender: Path, namespace: str, capture: Path) -> Sent:
    """Send every frame of `capture` once."""
    argv = within(namespace, ["taskset", "-c", SENDER_CORE, str(sender), INTERFACE, str(capture)])
    done = subprocess.run(argv, check=True, capture_output=True, text=True)
    frames, seconds, cpu_s = done.stdout.split()
    return Sent(int(frames), float(seconds), float(cpu_s))


def cpu(pid: int) -> tuple[float, float]:
    """Return a process's user and system seconds so far, all threads together.

    Their sum is its CPU clock (clock_getcpuclockid(3)), in nanoseconds; proc(5) says in ticks how it splits.
    """
    total_s = time.clock_gettime(~pid << 3 | CPUCLOCK_SCHED)
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    user, system = int(fields[11]), int(fields[12])
    user_s = total_s * user / (user + system)
    return user_s, total_s - user_s


def settle(pid: int) -> None:
    """Return once the process has read what waits for it."""
    time.sleep(TAIL_S)
    deadline_s = time.monotonic() + MOST_S
    spent_s = sum(cpu(pid))
    while time.monotonic() < deadline_s:
        time.sleep(QUIET_S)
        before_s, spent_s = spent_s, sum(cpu(pid))
        if spent_s - before_s < QUIET_S / 10:
            return


@contextlib.contextmanager
def listening(receiver: Receiver, work: Work, namespace: str) -> Iterator[subprocess.Popen[bytes]]:
    """Yield the receiver's process once it listens; it is told to end afterwards and its log is complete then."""
    argv = within(namespace, ["taskset", "-c", RECEIVER_CORE, *receiver.command(work, INTERFACE)])
    with work.output.open("wb") as log, subprocess.Popen(argv, stdout=log, stderr=log) as process:
        try:
            wait_until_ready(receiver, process, work.output)
            yield process
            process.send_signal(signal.SIGTERM)
            process.wait(STOP_TIMEOUT_S)
        finally:
            if process.poll() is None:
                process.kill()


def wait_until_ready(receiver: Receiver, process: subprocess.Popen[bytes], log: Path) -> None:
    """Return once the receiver's log says that it listens, and it has come to rest."""
    deadline_s = time.monotonic() + START_TIMEOUT_S
    while receiver.ready not in log.read_text(errors="replace"):
        if process.poll() is not None or time.monotonic() > deadline_s:
            raise SystemExit(f"{receiver.name} did not start:\n{log.read_text()[-2000:]}")
        time.sleep(0.05)
    time.sleep(QUIET_S)


def flood(receiver: Receiver | None, sender: Path, capture: Path, suffixes: tuple[str, ...]) -> Round:
    """Return what one flood of `capture` costs the receiver, and what it finds."""
    with veth() as (sensor_side, sender_side):
        if receiver is None:
            return Round(send(sender, sender_side, capture))
        with tempfile.TemporaryDirectory() as folder:
            work = Work(capture, suffixes, Path(folder))
            with listening(receiver, work, sensor_side) as process:
                before = cpu(process.pid)
                sent = send(sender, sender_side, capture)
                settle(process.pid)
                after = cpu(process.pid)
                peak_mib = tree_peak_kb(process.pid) / 1024
            outcome = receiver.outcome(work, work.output.read_text(errors="replace"))
    return Round(sent, after[0] - before[0], after[1] - before[1], peak_mib, outcome)


def play(results: list[Result], capture: Path, truth: Truth, rounds: int) -> None:
    """Let the receivers take turns."""
    with tempfile.TemporaryDirectory() as folder:
        sender = build_sender(Path(folder))
        for number in range(rounds):
            for result in results:
                row = flood(result.receiver, sender, capture, truth.suffixes)
                result.rounds.append(row)
                spent = f"{row.user_s + row.system_s:8.2f} s, sender {row.sent.cpu_s:6.2f} s"
                print(f"round {number + 1}: {result.name:24} {spent}", file=sys.stderr)


def cost_table(results: list[Result], truth: Truth) -> list[str]:
    """Return the table of costs as Markdown; the kernel's share is the sender's CPU beyond what it is for nobody."""
    nobody = results[0]
    rivals = [next((row for row in results if row.name == name), None) for name in RIVALS]
    times = ("kpps offered", "process us/packet", "user", "system")
    outcome = ("received", "lost", "found", "lookalikes", "other", "peak MiB")
    columns = (*times, *(f"x {name}" for name in RIVALS), "kernel us/packet", *outcome)
    lines = [f"| receiver | {' | '.join(columns)} |", "|---|" + "--:|" * len(columns)]
    for result in results:
        rate = median(row.sent.frames / row.sent.seconds for row in result.rounds) / 1000
        if result.receiver is None:
            lines.append(f"| {result.name} | {rate:.0f} |" + " - |" * 5 + f" ({result.sender_us:.2f}) |" + " - |" * 6)
            continue
        ratios = ("-" if rival is None else f"{result.process_us / rival.process_us:.3f}" for rival in rivals)
        lines.append(
            f"| {result.name} | {rate:.0f} | {result.process_us:.3f} | {result.user_us:.3f} | {result.system_us:.3f} "
            f"| {' | '.join(ratios)} | {result.sender_us - nobody.sender_us:.2f} | {' | '.join(shares(result))} "
            f"| {' | '.join(truth.score(result.found))} | {max(row.peak_mib for row in result.rounds):.0f} |"
        )
    return lines


def shares(result: Result) -> tuple[str, str]:
    """Return the share of the packets sent that reached the receiver's socket, and how many it lost, as a median."""
    rows = [(row.sent.frames, row.outcome) for row in result.rounds if row.outcome is not None]
    received = median(outcome.offered / frames for frames, outcome in rows)
    lost = median(outcome.lost / frames for frames, outcome in rows)
    return f"{received:.2%}", f"{lost:.2%}" if lost else "0"


def draw(results: list[Result], truth: Truth) -> str:
    """Return the picture: the receiver's CPU per packet."""
    rows = []
    for result in sorted(results[1:], key=lambda row: row.process_us):
        label = f"{result.process_us:.2f}, found {truth.score(result.found)[0]}, lost {shares(result)[1]}"
        rows.append((result.name, result.process_us, label))
    return bar_chart(f"Live: CPU microseconds of the process a packet, {truth.packets} packets", rows, "molecatcher")


def stop(_signal: int, _frame: object) -> None:
    """End as if interrupted, so that the namespaces go."""
    raise KeyboardInterrupt


def main() -> None:
    """Make the mix, let the receivers take turns, print the tables and draw the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--packets", type=int, default=2_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="", help="receivers in whose name this expression is found, beside nobody")
    parser.add_argument("--capture", type=Path, help="a mix that is there, with its truth beside it")
    parser.add_argument("--svg", type=Path, default=Path("build/live.svg"))
    options = parser.parse_args()
    if os.geteuid() != 0 or (os.cpu_count() or 1) < 2:  # noqa: PLR2004 - one for each end
        print("skipped: the live comparison needs root and two cores")
        return
    signal.signal(signal.SIGTERM, stop)
    results = present(options.only)
    with tempfile.TemporaryDirectory() as folder:
        capture = options.capture or make_mix(Path(folder), options.packets)
        truth = read_truth(capture.with_suffix(".json"))
        play(results, capture, truth, options.rounds)
    print(f"{options.rounds} rounds; {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, Linux {os.uname().release}")
    losses = truth.loss_table((result.name, result.found) for result in results)
    print("", *cost_table(results, truth), "", *losses, sep="\n")
    options.svg.parent.mkdir(parents=True, exist_ok=True)
    options.svg.write_text(draw(results, truth), encoding="utf-8")
    print(f"\nthe picture: {options.svg}")


if __name__ == "__main__":
    main()
