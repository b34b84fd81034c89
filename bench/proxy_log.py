"""Cost of a proxy log's line, beside splitting it into words (the floor): microseconds of CPU a line and their ratio.

Run: .venv/bin/python bench/proxy_log.py
"""

import statistics
import time
from collections.abc import Callable
from functools import partial

from molecatcher.recordings.ingest import Ingest
from rules.catalogue.catalogue import load_catalogue
from rules.policy.policy import Policy
from rules.policy.ruleset import Ruleset
from rules.values.event import Origin

ROUNDS = 5
LINES = 20_000
FORMS = {
    "squid": b"179547%04d.732     22 10.1.%d.3 TCP_TUNNEL/200 6504 CONNECT www%d.example.org:443 - "
    b"HIER_DIRECT/192.0.2.7 -",
    "haproxy": b"Nov 23 22:08:24 gateway haproxy[1%04d]: "
    b"10.1.%d.3:38992 [23/Nov/2026:22:08:24.797] h squid/s 0/0/0/2/8 "
    b'200 6521 - - ---- 1/1/0/0/0 0/0 "CONNECT www%d.example.org:443 HTTP/1.1"',
}


def microseconds(work: Callable[[list[bytes]], object], lines: list[bytes]) -> float:
    """Return the median CPU time of one line."""
    rounds = []
    for _ in range(ROUNDS):
        start_ns = time.process_time_ns()
        work(lines)
        rounds.append((time.process_time_ns() - start_ns) / len(lines) / 1000)
    return statistics.median(rounds)


def main() -> None:
    """Print the table."""
    ruleset = Ruleset(load_catalogue(), Policy())
    print(f"{'format':>8} {'words':>6} {'ingest':>7} {'ratio':>6}  us a line")
    for name, form in FORMS.items():
        lines = [form % (number % 10_000, number % 250, number % 977) for number in range(LINES)]
        floor = microseconds(lambda given: [line.split() for line in given], lines)
        ingest = Ingest(Origin("bench"), lambda: ruleset)
        ours = microseconds(partial(ingest.read, source="bench"), lines)
        print(f"{name:>8} {floor:>6.2f} {ours:>7.2f} {ours / floor:>6.1f}")


if __name__ == "__main__":
    main()
