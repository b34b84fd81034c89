"""How CPU grows with the packets and with the flows that are open at a time.

    make bench-scaling        (ARGS="--packets 200000 --rounds 1" for a quick look)

The mix of bench/mix.py without its tunnels, with twice the packets, and with ten times the bulk connections open at
a time and ten times the packets, so that each connection has as many and the share of heads is the same. Start-up is
left out (what the first 100 packets cost). Programs and captures take turns; figures are medians of the rounds.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from children import Cost, run
from mix import BULK_FLOWS, Mix, write_mix
from offline import first_packets
from peers import molecatcher
from peers.program import Program, Work

MANY = 10
START = "start"
WHOLE = "import sys; from pathlib import Path; from pipeline import whole_pipeline; whole_pipeline(Path(sys.argv[1]))"


def _every_packet(work: Work) -> list[str]:
    """Return the command that takes every packet of a file through the pipeline, picking none."""
    sources = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); "
    return [sys.executable, "-c", sources + WHOLE, str(work.capture)]


PROGRAMS = (*molecatcher.PROGRAMS, Program("pipeline, every packet", lambda: "", _every_packet))


@dataclass(frozen=True, slots=True)
class Capture:
    """A file and its packets."""

    path: Path
    packets: int


def write(path: Path, packets: int, flows: int = BULK_FLOWS) -> Capture:
    """Write a mix."""
    return Capture(path, write_mix(path, packets, Mix(bulk_flows=flows, has_tunnels=False)).packets)


def cost(program: Program, capture: Path) -> Cost:
    """Return what the program costs on one file."""
    with tempfile.TemporaryDirectory() as folder:
        work = Work(capture, (), Path(folder))
        spent = run(program.command(work), work.output)
        if spent.status:
            raise SystemExit(f"{program.name} failed:\n{work.output.with_suffix('.log').read_text()[-2000:]}")
        return spent


def play(paths: Sequence[Path], rounds: int) -> dict[tuple[str, str], list[Cost]]:
    """Return what each program costs on each file, by their names, in turns."""
    costs: dict[tuple[str, str], list[Cost]] = {}
    for number in range(rounds):
        for path in paths:
            for program in PROGRAMS:
                costs.setdefault((program.name, path.stem), []).append(cost(program, path))
        print(f"round {number + 1} of {rounds}", file=sys.stderr)
    return costs


def table(costs: dict[tuple[str, str], list[Cost]], few: Capture, double: Capture, many: Capture) -> list[str]:
    """Return the ratios as Markdown."""
    columns = ("CPU s", "twice the packets", "ratio", "us/packet", f"{MANY} times the flows", "ratio", "peak MiB")
    lines = [f"| program | {' | '.join(columns)} |", "|---|" + "--:|" * len(columns)]
    for program in PROGRAMS:
        cpu_s = {name: median(row.cpu_s for row in rows) for (who, name), rows in costs.items() if who == program.name}
        once, twice = (cpu_s[capture.path.stem] - cpu_s[START] for capture in (few, double))
        a_packet = once / few.packets * 1e6
        among_many = (cpu_s[many.path.stem] - cpu_s[START]) / many.packets * 1e6
        peak = max(row.peak_mib for row in costs[program.name, many.path.stem])
        figures = f"{once:.2f} | {twice:.2f} | {twice / once:.2f} | {a_packet:.2f} | {among_many:.2f}"
        lines.append(f"| {program.name} | {figures} | {among_many / a_packet:.2f} | {peak:.0f} |")
    return lines


def main() -> None:
    """Write the captures, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--packets", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        few = write(folder / "few.pcap", options.packets)
        double = write(folder / "double.pcap", 2 * options.packets)
        many = write(folder / "many.pcap", MANY * options.packets, MANY * BULK_FLOWS)
        start = folder / f"{START}.pcap"
        first_packets(few.path, start)
        paths = [start, few.path, double.path, many.path]
        costs = play(paths, options.rounds)
    print(
        f"{few.packets} and {double.packets} packets; {BULK_FLOWS} and {MANY * BULK_FLOWS} bulk flows at a time; ",
        end="",
    )
    print(f"{options.rounds} rounds; {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}\n")
    print(*table(costs, few, double, many), sep="\n")


if __name__ == "__main__":
    main()
