"""Daily sums by source and by name, filled from the events; what is counted stands in the indexes of events."""

import sqlalchemy as sa
from alembic import op

revision = "mc0020"
down_revision = "mc0019"
branch_labels = None
depends_on = None

_FILL = """
INSERT INTO daily_sums (dimension, day_ns, value, events, sightings, octets)
SELECT '{dimension}', observed_at_ns - observed_at_ns % 86400000000000, COALESCE({column}, ''),
       COUNT(*), SUM(count), SUM(bytes_out + bytes_in)
FROM events GROUP BY 2, 3
"""
_COUNTED = ("dst_name", "count", "bytes_out", "bytes_in")
_WIDENED = {
    ("observed_at_ns", "event_id"): ("src_ip", *_COUNTED),
    ("src_ip", "observed_at_ns", "event_id"): (*_COUNTED, "facet_id"),
}


def upgrade() -> None:
    """Apply this revision."""
    op.create_table(
        "daily_sums",
        sa.Column("dimension", sa.Text(), nullable=False),
        sa.Column("day_ns", sa.BigInteger(), nullable=False, autoincrement=False),
        sa.Column("value", sa.Text(), nullable=False),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in ("events", "sightings", "octets")),
        sa.PrimaryKeyConstraint("dimension", "day_ns", "value", name=op.f("pk_daily_sums")),
        sqlite_with_rowid=False,
    )
    for dimension, column in (("src", "src_ip"), ("dst", "dst_name")):
        op.execute(_FILL.format(dimension=dimension, column=column))
    for columns, more in _WIDENED.items():
        _replace(columns, more)


def downgrade() -> None:
    """Undo this revision."""
    for columns in _WIDENED:
        _replace(columns, ())
    op.drop_table("daily_sums")


def _replace(key: tuple[str, ...], more: tuple[str, ...]) -> None:
    """Put an index in the place of the one with this key, with `more` columns after it."""
    name = op.f(f"ix_events_{'_'.join(key)}")
    op.drop_index(name, "events")
    op.create_index(name, "events", [*key, *more])
