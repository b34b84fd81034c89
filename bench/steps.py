"""Where the CPU of the live sensor goes, by thread and step.

    make bench-steps      (ARGS="--packets 300000 --rounds 1" for a quick look)

The sensor listens on a veth pair while the mix of bench/mix.py is sent as in bench/live.py, and is measured from before
the first frame until four seconds or more after the last: its alarms included. Each figure is the least of the rounds.
Needs root and two cores.
"""

import argparse
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

from live import build_sender, listening, send, settle, stop
from peers import molecatcher
from peers.live import Receiver
from peers.program import Work
from truth import Truth, make_mix, read_truth
from veth import veth

CAPTURING = ("packets", "heads")
SIGNAL_S = 1.0  # until a signal has been handled
Steps = dict[tuple[str, str], float]


def command(work: Work, interface: str) -> list[str]:
    """Return what starts the sensor with its steps timed."""
    program = str(Path(__file__).with_name("stepped_sensor.py"))
    state = ["--interface", interface, "--state", str(work.folder / "state")]
    return [sys.executable, program, str(work.folder / "steps.json"), "sensor", *state]


RECEIVER = Receiver("molecatcher", lambda: "", command, "sensor_started", molecatcher.RECEIVERS[0].outcome)


def measure(sender: Path, capture: Path, truth: Truth) -> tuple[Steps, str]:
    """Return the microseconds of each thread's steps in one flood, and how many of its tunnels were found."""
    with veth() as (sensor_side, sender_side), tempfile.TemporaryDirectory() as folder:
        work = Work(capture, truth.suffixes, Path(folder))
        with listening(RECEIVER, work, sensor_side) as process:
            process.send_signal(signal.SIGUSR1)
            time.sleep(SIGNAL_S)
            send(sender, sender_side, capture)
            settle(process.pid)
            process.send_signal(signal.SIGUSR2)
            time.sleep(SIGNAL_S)
            found = json.loads((work.folder / "steps.json").read_bytes())
        outcome = RECEIVER.outcome(work, "")
    steps = {(thread, step): spent for thread, row in found.items() for step, spent in row.items()}
    return steps, truth.score(outcome.found)[0]


def outside(steps: Steps) -> float:
    """Return what is spent on all but taking packets and reading heads."""
    return sum(spent for (_, step), spent in steps.items() if step not in CAPTURING)


def least(rounds: Iterable[Steps]) -> Steps:
    """Return the least of each step."""
    found: Steps = {}
    for row in rounds:
        for key, spent in row.items():
            found[key] = min(spent, found.get(key, spent))
    return found


def report(rounds: list[Steps], truth: Truth) -> None:
    """Print the table, the dearest step first."""
    found = least(rounds)
    print("| thread | step | ms | us a packet |\n|---|---|--:|--:|")
    for (thread, step), spent in sorted(found.items(), key=lambda row: -row[1]):
        print(f"| {thread} | {step} | {spent / 1000:.2f} | {spent / truth.packets:.4f} |")
    spent = min(map(outside, rounds))
    print(f"\noutside capture and heads: {spent / 1000:.1f} ms, {spent / truth.packets:.4f} us a packet,", end=" ")
    print(f"{spent / len(truth.tunnels):.0f} us a tunnel flow")


def main() -> None:
    """Make the mix, send it in each round, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--packets", type=int, default=2_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--capture", type=Path, help="a mix that is there, with its truth beside it")
    options = parser.parse_args()
    if os.geteuid() != 0 or (os.cpu_count() or 1) < 2:  # noqa: PLR2004 - one for each end
        print("skipped: it needs root and two cores")
        return
    signal.signal(signal.SIGTERM, stop)
    with tempfile.TemporaryDirectory() as folder:
        capture = options.capture or make_mix(Path(folder), options.packets)
        truth = read_truth(capture.with_suffix(".json"))
        sender = build_sender(Path(folder))
        rounds = []
        for number in range(options.rounds):
            steps, found = measure(sender, capture, truth)
            rounds.append(steps)
            print(f"round {number + 1}: found {found}, outside {outside(steps) / 1000:.1f} ms", file=sys.stderr)
    print(f"{options.rounds} rounds; {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    report(rounds, truth)


if __name__ == "__main__":
    main()
