"""Molecatcher beside other programs on the same file: CPU per packet, what each finds, and its memory.

    make bench-setup && make bench-offline      (ARGS="--packets 200000 --rounds 1" for a quick look)

With --pcapng Molecatcher also reads the same packets as pcapng, as editcap (wireshark-common) writes them.

Programs take turns; the figures are medians over the rounds, and only their ratios mean anything on a machine that
does other work. A slow program runs in the first round only. Start-up is what it costs on the first 100 packets.
"""

import argparse
import os
import re
import struct
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from chart import bar_chart
from children import Cost, run
from peers import molecatcher, ndpi, nfstream, python_walk, suricata, tcpdump, tshark
from peers.program import Ends, Program, Work
from truth import Truth, make_mix, read_truth

MODULES = (tcpdump, python_walk, molecatcher, suricata, ndpi, nfstream, tshark)
MIX = "mix.pcap"
START = "start.pcap"  # the first packets alone
START_PACKETS = 100
FLOOR = tcpdump.PROGRAMS[0].name


@dataclass(slots=True)
class Result:
    """What a program cost in each round, and what it found in the first."""

    program: Program
    version: str
    costs: list[Cost] = field(default_factory=list)
    starts: list[float] = field(default_factory=list)
    found: set[Ends] | None = None

    @property
    def cpu_s(self) -> float:
        """Return the median CPU seconds."""
        return median(cost.cpu_s for cost in self.costs)

    @property
    def start_s(self) -> float:
        """Return the median CPU seconds of a start."""
        return median(self.starts)


def present(wanted: str, suffixes: set[str]) -> list[Result]:
    """Return the programs whose names match `wanted`; those that are not installed are named and left out.

    They are those that read files with one of the `suffixes`.
    """
    results = []
    for program in (program for module in MODULES for program in module.PROGRAMS if program.suffix in suffixes):
        version = program.version()
        if version is None:
            print(f"skipped: {program.name} is not installed (make bench-setup)")
        elif program.name == FLOOR or re.search(wanted, program.name):
            results.append(Result(program, version))
    return results


def first_packets(capture: Path, target: Path) -> None:
    """Write the first packets of `capture` to `target`."""
    with capture.open("rb") as source, target.open("wb") as stream:
        stream.write(source.read(24))
        for _ in range(START_PACKETS):
            header = source.read(16)
            stream.write(header + source.read(struct.unpack_from("<I", header, 8)[0]))


def as_pcapng(capture: Path) -> None:
    """Write the same packets as pcapng beside `capture`."""
    subprocess.run(["editcap", "-F", "pcapng", str(capture), str(capture.with_suffix(molecatcher.PCAPNG))], check=True)


def measure(result: Result, capture: Path, truth: Truth) -> Cost:
    """Run the program once; what it found is kept from the first run."""
    with tempfile.TemporaryDirectory() as folder:
        work = Work(capture.with_suffix(result.program.suffix), truth.suffixes, Path(folder))
        cost = run(result.program.command(work), work.output)
        if cost.status:
            raise SystemExit(f"{result.program.name} failed:\n{work.output.with_suffix('.log').read_text()[-2000:]}")
        if result.found is None and result.program.find is not None and capture.name != START:
            result.found = result.program.find(work)
    return cost


def play(results: list[Result], capture: Path, truth: Truth, rounds: int, start: Path) -> None:
    """Let the programs take turns; the first packets are written to `start`."""
    first_packets(capture, start)
    if any(result.program.suffix == molecatcher.PCAPNG for result in results):
        as_pcapng(capture)
        as_pcapng(start)
    for number in range(rounds):
        for result in results:
            if number and result.program.is_slow:
                continue
            result.starts.append(measure(result, start, truth).cpu_s)
            result.costs.append(measure(result, capture, truth))
            print(f"round {number + 1}: {result.program.name:26} {result.costs[-1].cpu_s:8.2f} s", file=sys.stderr)


def cost_table(results: list[Result], truth: Truth) -> list[str]:
    """Return the table of costs as Markdown; `x floor` compares what is left after each start-up."""
    lines = [
        "| program | rounds | CPU s | of it start-up | us/packet | x floor | peak MiB | found | lookalikes | other |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    floor = next(result for result in results if result.program.name == FLOOR)
    for result in results:
        net_s = result.cpu_s - result.start_s
        peak = max(cost.peak_mib for cost in result.costs)
        lines.append(
            f"| {result.program.name} | {len(result.costs)} | {result.cpu_s:.2f} | {result.start_s:.2f} "
            f"| {net_s / truth.packets * 1e6:.2f} | {net_s / (floor.cpu_s - floor.start_s):.2f} | {peak:.0f} "
            f"| {' | '.join(truth.score(result.found))} |"
        )
    return lines


def draw(results: list[Result], truth: Truth) -> str:
    """Return the picture: CPU per packet without start-up, slow programs left out."""
    rows = []
    for result in sorted((row for row in results if not row.program.is_slow), key=lambda row: row.cpu_s - row.start_s):
        spent = (result.cpu_s - result.start_s) / truth.packets * 1e6
        found = truth.score(result.found)[0]
        rows.append((result.program.name, spent, f"{spent:.2f}" + ("" if found == "-" else f", found {found}")))
    return bar_chart(f"CPU microseconds a packet, {truth.packets} packets, start-up apart", rows, "molecatcher")


def main() -> None:
    """Make the mix, let the programs take turns, print the tables and draw the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--packets", type=int, default=2_000_000)
    parser.add_argument("--capture", type=Path, help="a mix that bench/mix.py wrote, instead of a new one")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="", help="programs whose name matches this, beside the floor")
    parser.add_argument("--pcapng", action="store_true", help="Molecatcher also reads the same packets as pcapng")
    parser.add_argument("--svg", type=Path, default=Path("build/offline.svg"))
    options = parser.parse_args()
    results = present(options.only, {".pcap", molecatcher.PCAPNG} if options.pcapng else {".pcap"})
    with tempfile.TemporaryDirectory() as folder:
        given = options.capture or make_mix(Path(folder), options.packets)
        truth = read_truth(given.with_suffix(".json"))
        capture = Path(folder) / MIX
        if not capture.exists():
            capture.symlink_to(given.resolve())
        average = capture.stat().st_size // truth.packets - 16
        play(results, capture, truth, options.rounds, Path(folder) / START)
    print(f"{average} octets a packet; {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    print("\n".join(f"* {result.program.name}: {result.version}" for result in results))
    losses = truth.loss_table((result.program.name, result.found) for result in results)
    print("", *cost_table(results, truth), "", *losses, sep="\n")
    options.svg.parent.mkdir(parents=True, exist_ok=True)
    options.svg.write_text(draw(results, truth), encoding="utf-8")
    print(f"\nthe picture: {options.svg}")


if __name__ == "__main__":
    main()
