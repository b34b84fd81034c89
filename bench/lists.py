"""Measures what a large list costs to build, guard and keep, as multiples of sorting its names with sort(1).

    python bench/lists.py [--entries 1000000]

Each step is CPU of one process, the sort in the same run. The peak is of the whole process, catalogue included.
"""

import argparse
import resource
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from rules.catalogue.catalogue import Catalogue
from rules.catalogue.service import Service, Trust
from rules.lists.building import build_names, protected_names
from rules.lists.changes import stamp
from rules.lists.encoding import digest, encode
from rules.lists.guards import Spared, refusals
from rules.policy.policy import Policy

SERVICES = 100
MIB = 2**20


def make_catalogue(names: list[str]) -> Catalogue:
    """Return a catalogue that lists `names`, spread over some services."""
    services = [
        Service(
            id=f"service{number}",
            name="service",
            homepage="",
            category="reverse-tunnel",
            confidence=Trust.HIGH,
            ports=(),
            sources=("bench",),
            agent_domains=tuple(names[number::SERVICES]),
        )
        for number in range(SERVICES)
    ]
    return Catalogue(services, (), (), datetime.now(UTC).date())


def sort_cpu_s(names: list[str]) -> float:
    """Return the CPU seconds that sort(1) takes for the same names."""
    with tempfile.TemporaryFile("w+") as file:
        file.writelines(f"{name}\n" for name in names)
        file.seek(0)
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(["sort", "-u"], stdin=file, stdout=subprocess.DEVNULL, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Print a row for each step."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entries", type=int, default=1_000_000)
    count = parser.parse_args().entries
    names = [f"h{number}.example{number % 1000}.net" for number in range(count)]
    floor_s = sort_cpu_s(names)
    print(f"{count:,} names; sort -u takes {floor_s:.2f} s of CPU")

    @contextmanager
    def step(what: str) -> Iterator[None]:
        began_s = time.process_time()
        yield
        took_s = time.process_time() - began_s
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / MIB
        print(f"{what:28} {took_s:7.2f} s  {took_s / floor_s:6.1f} x sort  peak {peak:5.0f} MiB")

    with step("catalogue read"):
        catalogue = make_catalogue(names)
    del names
    with step("list built"):
        built = build_names(catalogue, Policy(), 0)
    with step("guards"):
        found = refusals(built, None, Spared(names=protected_names(catalogue, Policy(), 0)))
    with step("digest, stamps, stored form"):
        digest(built)
        stored = encode(stamp(built, None, 1))
    print(f"{len(built.blocked):,} entries, {len(found)} refusals, {len(stored) / MIB:.0f} MiB stored")


if __name__ == "__main__":
    main()
