"""Measures pages of events of every filter on a large store, and what ingest costs.

    python bench/pages.py [--events 1000000] [--directory DIR]

The rows are multiplied in SQL from some that were appended as a sensor's are, so a million takes a minute. Latencies
are medians of processor time and of elapsed time; on a busy machine only the first can be compared.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import text
from store import SECOND_NS, T0_NS, make_events

from db.engine import writing
from db.store import Store, open_store
from db.values import Aggregation, Dimension, EventCursor, EventFilter
from rules.observation import FlowState
from rules.verdict import Outcome, Severity

SEED = 20_000
TIMES = 15
HOUR_NS = 3600 * SECOND_NS
MULTIPLY = """
INSERT INTO events ({columns})
SELECT {values} FROM events AS e, (
    WITH RECURSIVE copies(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM copies WHERE n < :copies) SELECT n FROM copies
) AS c
"""
CHANGED = {
    "event_id": "substr(e.event_id, 1, 24) || printf('%012x', e.ingest_seq + c.n * :seed)",
    "ingest_seq": "e.ingest_seq + c.n * :seed",
    "observed_at_ns": "e.observed_at_ns + c.n * :seed * 1000000000",
}
INDEXES = "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND tbl_name = 'events' AND sql IS NOT NULL"
SUM = """
INSERT INTO rollups (hour_ns, facet_id, events, sightings, octets)
SELECT observed_at_ns - observed_at_ns % 3600000000000, facet_id, COUNT(*), SUM(count), SUM(bytes_out + bytes_in)
FROM events GROUP BY 1, 2
"""


def fill(store: Store, total: int) -> None:
    """Append `SEED` events, and multiply them to `total`; states turn so that one event in a thousand is rare."""
    events = make_events(SEED)
    began, cpu = time.perf_counter(), time.process_time()
    for start in range(0, SEED, 1000):
        store.append(events[start : start + 1000])
    spent = time.process_time() - cpu
    print(
        f"append {SEED}: {spent / SEED * 1e6:.0f} us of processor an event, {time.perf_counter() - began:.1f} s elapsed"
    )
    with writing(store._engine) as connection:  # noqa: SLF001 - the store has no way to multiply rows
        columns = [row[1] for row in connection.execute(text("PRAGMA table_info(events)"))]
        values = [CHANGED.get(column, f"e.{column}") for column in columns]
        indexes = connection.execute(text(INDEXES)).all()
        for name, _ in indexes:
            connection.execute(text(f"DROP INDEX {name}"))
        statement = MULTIPLY.format(columns=", ".join(columns), values=", ".join(values))
        connection.execute(text(statement), {"copies": total // SEED - 1, "seed": SEED})
        for _, created in indexes:
            connection.execute(text(created))
        connection.execute(text("DELETE FROM rollups"))
        connection.execute(text(SUM))


def median(question: Callable[[], object]) -> str:
    """Return the median processor and elapsed time of asking."""
    cpu, elapsed = [], []
    for _ in range(TIMES):
        began, began_cpu = time.perf_counter(), time.process_time()
        question()
        cpu.append((time.process_time() - began_cpu) * 1000)
        elapsed.append((time.perf_counter() - began) * 1000)
    return f"{statistics.median(cpu):8.1f} ms processor {statistics.median(elapsed):8.1f} ms elapsed"


def report(store: Store, total: int) -> None:
    """Print the table."""
    middle = EventCursor(T0_NS + total // 2 * SECOND_NS, "")
    end_ns = T0_NS + total * SECOND_NS
    filters = {
        "all": EventFilter(),
        "service": EventFilter(service="frp"),
        "verdict": EventFilter(verdict=Outcome.SUSPICIOUS),
        "state": EventFilter(state=FlowState.BLOCKED),
        "severity, found nowhere": EventFilter(severity=Severity.LOW),
        "sensor, found nowhere": EventFilter(sensor="nowhere"),
        "service, verdict, state": EventFilter(service="chisel", verdict=Outcome.SANCTIONED, state=FlowState.ATTEMPTED),
        "source": EventFilter(src="10.0.0.1"),
        "source and verdict": EventFilter(src="10.0.0.1", verdict=Outcome.SUSPICIOUS),
        "name": EventFilter(dst="7.tunnel.example"),
        "address": EventFilter(dst="198.51.100.7"),
        "part of a name": EventFilter(q="77.tunnel"),
        "part of a name, nowhere": EventFilter(q="nowhere"),
        "the same in a day": EventFilter(q="nowhere", from_ns=end_ns - 24 * HOUR_NS),
    }
    for name, wanted in filters.items():
        print(f"{name:<28} first {median(lambda wanted=wanted: store.events(wanted, 100))}")
        print(f"{'':<28} later {median(lambda wanted=wanted: store.events(wanted, 100, middle))}")
    from_ns = end_ns // HOUR_NS * HOUR_NS - 7 * 24 * HOUR_NS
    week = EventFilter(from_ns=from_ns)
    how = Aggregation(by=(Dimension.VERDICT,), interval_ns=HOUR_NS)
    print(f"{'a week by hour and verdict':<28}       {median(lambda: store.aggregate(week, how, 1000))}")


def main() -> None:
    """Run with the options on the command line."""
    parser = argparse.ArgumentParser(description="Measure pages of a large store.")
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--directory", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.directory) as folder, open_store(Path(folder) / "pages.db") as store:
        fill(store, options.events)
        report(store, options.events)


if __name__ == "__main__":
    main()
