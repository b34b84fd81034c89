"""Who uses a service, filled from the events that are there; and the ends of events by facet."""

import sqlalchemy as sa
from alembic import op

revision = "mc0017"
down_revision = "mc0016"
branch_labels = None
depends_on = None

_FILL = """
INSERT INTO sources (service, src_ip, observed_at_ns, last_seen_ns)
SELECT COALESCE(service, ''), src_ip, MAX(observed_at_ns), MAX(last_seen_ns) FROM events GROUP BY 1, 2
"""
_ENDS = ("src_ip", "dst_ip", "dst_name")


def upgrade() -> None:
    """Apply this revision."""
    op.create_table(
        "sources",
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("service", "src_ip")),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in ("observed_at_ns", "last_seen_ns")),
        sa.PrimaryKeyConstraint("service", "src_ip", name=op.f("pk_sources")),
    )
    op.execute(_FILL)
    for end in _ENDS:
        columns = [end, "facet_id", "observed_at_ns", "event_id"]
        op.create_index(op.f(f"ix_events_{'_'.join(columns)}"), "events", columns)


def downgrade() -> None:
    """Undo this revision."""
    for end in _ENDS:
        op.drop_index(op.f(f"ix_events_{end}_facet_id_observed_at_ns_event_id"), "events")
    op.drop_table("sources")
