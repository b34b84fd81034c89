"""What leaves by age is found by its key: no table is read for it while the write lock is held."""

from pathlib import Path

import pytest
from query_plans import statements
from stored_events import T0_NS, make_event

from db.findings import parts
from db.retention import Aging
from db.store import open_store


@pytest.mark.parametrize(
    ("what", "table", "count"),
    [
        (Aging.SUMS, "rollups", 1),
        (Aging.DAILY_SUMS, "daily_sums", 6),
        (Aging.SOURCES, "sources", 5),
        (Aging.EVENTS, "events", 5),
        (Aging.FINDING_PARTS, "finding_parts", 10),
    ],
)
def test_rows_that_are_old_leave_by_their_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: Aging, table: str, count: int
) -> None:
    monkeypatch.setattr(parts, "LARGE", 0)
    with open_store(tmp_path / "events.db") as store:
        store.append([make_event(number, src_ip=f"10.0.0.{number}") for number in range(5)])
        with statements(store) as noted:
            assert store.retention.purge(what, 2 * T0_NS) == count
        assert store.retention.purge(what, 2 * T0_NS) == 0
        (found,) = (statement for statement, _ in noted if statement.split()[:3] == ["DELETE", "FROM", table])
        with store._engine.connect() as connection:
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {found}", (None,) * found.count("?")).all()
        assert [row[3].split()[0] for row in plan] == ["SEARCH"]
