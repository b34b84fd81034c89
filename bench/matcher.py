"""Name look-up cost as the list grows, beside one dict probe (the floor), a linear scan and a regular expression.

Prints nanoseconds a look-up (median of the rounds) and ratios within this run. Run: .venv/bin/python bench/matcher.py
"""

import argparse
import random
import re
import statistics
import time
from collections.abc import Callable
from functools import partial

from rules.matching.matcher import NameTable

ROUNDS = 5
LOOKUPS = 20_000
SIZES = (100, 10_000, 1_000_000)


def first_match(table: NameTable[int], name: str) -> object:
    """Return the most specific entry."""
    return next(table.matches(name), None)


def ends_in_any(suffixes: tuple[str, ...], name: str) -> bool:
    """Try one suffix after the other."""
    return any(name.endswith(suffix) for suffix in suffixes)


def nanoseconds(work: Callable[[str], object], names: list[str]) -> float:
    """Return the median cost of one call."""
    rounds = []
    for _ in range(ROUNDS):
        start = time.process_time_ns()
        for name in names:
            work(name)
        rounds.append((time.process_time_ns() - start) / len(names))
    return statistics.median(rounds)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entries", type=int, default=max(SIZES), help="the most there are in a table")
    most: int = parser.parse_args().entries
    rng = random.Random(1)
    print(f"{'entries':>10} {'dict probe':>11} {'matcher':>9} {'ratio':>6} {'linear scan':>12} {'one regex':>10}  ns")
    for size in (size for size in SIZES if size <= most):
        entries = [f"n{number}.t{number % 97}.example" for number in range(size)]
        table: NameTable[int] = NameTable()
        for number, entry in enumerate(entries):
            table.add(entry, number)
        names = [f"a.b.{rng.choice(entries)}" if at % 2 else f"w{at}.example.net" for at in range(LOOKUPS)]
        plain = dict.fromkeys(entries, 1)
        floor = nanoseconds(plain.get, names)
        ours = nanoseconds(partial(first_match, table), names)
        row = f"{size:>10} {floor:>11.0f} {ours:>9.0f} {ours / floor:>6.1f}"
        if size <= min(SIZES):
            suffixes = tuple(f".{entry}" for entry in entries)
            regex = re.compile("|".join(re.escape(entry) for entry in entries))
            row += f" {nanoseconds(partial(ends_in_any, suffixes), names[:2000]):>12.0f}"
            row += f" {nanoseconds(regex.search, names[:2000]):>10.0f}"
        print(row)


if __name__ == "__main__":
    main()
