"""A process that appends batches and says so: `store_writer.py DATABASE FIRST_BATCH BATCHES BATCH_SIZE`."""

import sys
from pathlib import Path

from stored_events import make_event

from db.store import open_store
from rules.values.event import Event


def batch_events(batch: int, size: int) -> list[Event]:
    """Return the events of one batch; each batch has a source of its own."""
    src_ip = f"10.1.{batch >> 8}.{batch & 255}"
    return [make_event(batch * size + place, src_ip=src_ip, count=2) for place in range(size)]


def main(database: Path, first: int, batches: int, size: int) -> None:
    with open_store(database) as store:
        for batch in range(first, first + batches):
            result = store.append(batch_events(batch, size))
            print(batch, result.stored, flush=True)  # noqa: T201 - the parent reads what was acknowledged


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:5]))
