"""How CPU grows with the packets, and with the connections that are open at a time.

    make bench-scaling        (ARGS="--packets 100000 --rounds 1" for a quick look)

The mix of bench/mix.py without its tunnels, and beside it one of twice the packets, and one of as many packets and as
many connections of which ten times as many are open at a time. A compiled replay is given each file several times in
one run, pure Python a smaller one, and the live sensor has it sent over a veth pair as in bench/live.py (needs root and
two cores). The cost of the first 100 packets, which is that of a start, is left out. Programs and captures take turns;
figures are medians of the rounds.
"""

import argparse
import os
import re
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import NamedTuple

from children import run
from live import build_sender, flood, stop
from mix import FLOW_SEGMENTS, Mix, write_mix
from offline import first_packets
from peers import molecatcher
from peers.live import Receiver
from peers.program import Program, Work

MANY = 10
CONNECTION_PACKETS = 160  # of each on average, however many are open at a time
TIMES = 4  # 0.13 us of 8,000,000 packets is 1 s, starts differ by up to 0.1 s
SMALL = 4  # how much smaller the file is that pure Python gets
COLUMNS = (
    *("packets", "starts differ by", "CPU s", "twice the packets", "ratio", "us/packet"),
    *(f"{MANY} times the flows", "ratio", "peak MiB"),
)
WHOLE = "import sys; from pathlib import Path; from pipeline import whole_pipeline; whole_pipeline(Path(sys.argv[1]))"


class Spent(NamedTuple):
    """CPU seconds, and the MiB that were held at most."""

    cpu_s: float
    peak_mib: float


class Capture(NamedTuple):
    """A file, its packets, its bulk connections and how many of these are open at a time."""

    path: Path
    packets: int
    connections: int
    at_a_time: int


class Captures(NamedTuple):
    """A file's beginning, the file, one of twice the packets, and one of ten times the connections at a time."""

    start: Path
    few: Capture
    double: Capture
    many: Capture


Measure = Callable[[Path], dict[str, Spent]]  # of a file, by the names of rows


@dataclass(frozen=True, slots=True)
class Group:
    """Programs that take the same files, each of them `times` in a run, and what that cost, by row and file."""

    measures: list[Measure]
    captures: Captures
    times: int = 1
    costs: dict[tuple[str, str], list[Spent]] = field(default_factory=dict)

    def play(self) -> None:
        """Measure each program with each file."""
        start, *captures = self.captures
        for path in (start, *(capture.path for capture in captures)):
            for measure in self.measures:
                read_through(path)
                for name, spent in measure(path).items():
                    self.costs.setdefault((name, path.stem), []).append(spent)

    def rows(self) -> Iterator[str]:
        """Yield the ratios, a row a program, as Markdown."""
        start, few, double, many = self.captures
        for name in dict.fromkeys(name for name, _ in self.costs):
            starts = [spent.cpu_s for spent in self.costs[name, start.stem]]
            once_s, twice_s, among_s = (self._cpu_s(name, capture) - median(starts) for capture in (few, double, many))
            a_packet, among_many = (
                cpu_s / capture.packets / self.times * 1e6 for cpu_s, capture in ((once_s, few), (among_s, many))
            )
            peak = max(spent.peak_mib for spent in self.costs[name, many.path.stem])
            figures = (
                str(self.times * few.packets),
                *(f"{cpu_s:.3f}" for cpu_s in (max(starts) - min(starts), once_s, twice_s)),
                f"{twice_s / once_s:.2f}",
                *(f"{spent_us:.3f}" for spent_us in (a_packet, among_many)),
                f"{among_many / a_packet:.2f}",
                f"{peak:.0f}" if peak else "-",
            )
            yield f"| {name} | {' | '.join(figures)} |"

    def _cpu_s(self, name: str, capture: Capture) -> float:
        return median(spent.cpu_s for spent in self.costs[name, capture.path.stem])


def read_through(path: Path) -> None:
    """Read the whole file, so that the programs find it in memory."""
    with path.open("rb") as stream:
        while stream.read(1 << 20):
            pass


def replaying(program: Program, times: int = 1) -> Measure:
    """Return what measures the program on a file that it is given so many times in one run."""

    def measure(path: Path) -> dict[str, Spent]:
        with tempfile.TemporaryDirectory() as folder:
            work = Work(path, (), Path(folder))
            cost = run([*program.command(work), *[str(path)] * (times - 1)], work.output)
            if cost.status:
                raise SystemExit(f"{program.name} failed:\n{work.output.with_suffix('.log').read_text()[-2000:]}")
        return {program.name: Spent(cost.cpu_s, cost.peak_mib)}

    return measure


def flooding(receiver: Receiver, sender: Path) -> Measure:
    """Return what measures the receiver while a file is sent to it: its process, and what the sender pays for it."""

    def measure(path: Path) -> dict[str, Spent]:
        unheard = flood(None, sender, path, ())
        read_through(path)
        heard = flood(receiver, sender, path, ())
        return {
            f"{receiver.name}, live": Spent(heard.user_s + heard.system_s, heard.peak_mib),
            f"{receiver.name}, live: the kernel": Spent(heard.sent.cpu_s - unheard.sent.cpu_s, 0),
        }

    return measure


def every_packet(work: Work) -> list[str]:
    """Return the command that takes every packet of a file through the pipeline, picking none."""
    sources = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); "
    return [sys.executable, "-c", sources + WHOLE, str(work.capture)]


def write(path: Path, packets: int, at_a_time: int, flow_packets: int) -> Capture:
    """Write a mix whose bulk connections have so many packets on average, if the file does not end before."""
    mix = Mix(bulk_flows=at_a_time, flow_segments=flow_packets, has_tunnels=False)
    truth = write_mix(path, packets, mix)
    return Capture(path, truth.packets, mix.bulk_opened, at_a_time)


def write_all(folder: Path, packets: int) -> Captures:
    """Write the captures into a new folder.

    Where many connections are open at a time, they are opened at the beginning and long enough for nearly all of them
    to last: as many as the others, one after the other, add up to.
    """
    folder.mkdir()
    many = packets // CONNECTION_PACKETS
    few = many // MANY
    wanted = (
        ("few", packets, few, CONNECTION_PACKETS),
        ("double", 2 * packets, few, CONNECTION_PACKETS),
        ("many", packets, many, FLOW_SEGMENTS),
    )
    with ProcessPoolExecutor() as pool:
        written = [pool.submit(write, folder / f"{name}.pcap", *row) for name, *row in wanted]
    captures = Captures(folder / "start.pcap", *(row.result() for row in written))
    first_packets(captures.few.path, captures.start)
    return captures


def groups(folder: Path, packets: int, wanted: str) -> Iterator[Group]:
    """Yield what is to be measured; receivers are those in whose names the expression `wanted` is found."""
    compiled, pure, _ = molecatcher.PROGRAMS
    large, small = write_all(folder / "large", packets), write_all(folder / "small", packets // SMALL)
    yield Group([replaying(compiled, TIMES)], large, TIMES)
    yield Group([replaying(pure), replaying(Program("pipeline, every packet", lambda: "", every_packet))], small)
    if os.geteuid() != 0 or (os.cpu_count() or 1) < 2:  # noqa: PLR2004 - one for each end
        print("skipped: the live sensor needs root and two cores")
        return
    sender = build_sender(folder)
    receivers = [receiver for receiver in molecatcher.RECEIVERS if re.search(wanted, receiver.name)]
    yield Group([flooding(receiver, sender) for receiver in receivers], large)


def describe(capture: Capture) -> str:
    """Return what a file has in it."""
    return f"{capture.packets} packets, {capture.at_a_time} of {capture.connections} bulk connections at a time"


def main() -> None:
    """Write the captures, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--packets", type=int, default=2_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--live", default="^molecatcher$", help="receivers in whose name this expression is found")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, stop)
    with tempfile.TemporaryDirectory() as folder:
        measured = list(groups(Path(folder), options.packets, options.live))
        for number in range(options.rounds):
            for group in measured:
                group.play()
            print(f"round {number + 1} of {options.rounds}", file=sys.stderr)
    for captures in dict.fromkeys(group.captures for group in measured):
        print(*(f"* {describe(capture)}" for capture in captures[1:]), sep="\n")
    print(f"\n{options.rounds} rounds; {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}\n")
    print(f"| program | {' | '.join(COLUMNS)} |", "|---|" + "--:|" * len(COLUMNS), sep="\n")
    for group in measured:
        print(*group.rows(), sep="\n")


if __name__ == "__main__":
    main()
