"""Facets of events, for filters, and hourly sums of each, filled from the events that are there."""

import sqlalchemy as sa
from alembic import op

revision = "mc0014"
down_revision = "mc0013"
branch_labels = None
depends_on = None

_KEY = ("verdict", "role", "severity", "state", "service", "sensor_id")
_SAME = " AND ".join(f"f.{name} = COALESCE(e.{name}, '')" for name in _KEY)
_FILL = (
    f"""
    INSERT INTO facets (facet_id, {", ".join(_KEY)})
    SELECT ROW_NUMBER() OVER (), verdict, role, severity, state, service, sensor_id FROM (
        SELECT DISTINCT verdict, role, severity, state, COALESCE(service, '') AS service, sensor_id FROM events
    ) AS found
    """,  # noqa: S608 - columns of ours
    f"UPDATE events AS e SET facet_id = (SELECT f.facet_id FROM facets AS f WHERE {_SAME})",  # noqa: S608 - columns of ours
    """
    INSERT INTO rollups (hour_ns, facet_id, events, sightings, octets)
    SELECT observed_at_ns - observed_at_ns % 3600000000000, facet_id, COUNT(*), SUM(count), SUM(bytes_out + bytes_in)
    FROM events GROUP BY 1, 2
    """,
)


def upgrade() -> None:
    """Apply this revision."""
    op.create_table(
        "facets",
        sa.Column("facet_id", sa.BigInteger(), nullable=False, autoincrement=False),
        *(sa.Column(name, sa.Text(), nullable=False) for name in _KEY),
        sa.PrimaryKeyConstraint("facet_id", name=op.f("pk_facets")),
        sa.UniqueConstraint(*_KEY, name=op.f("uq_facets_verdict_role_severity_state_service_sensor_id")),
    )
    op.create_table(
        "rollups",
        *(sa.Column(name, sa.BigInteger(), nullable=False, autoincrement=False) for name in ("hour_ns", "facet_id")),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in ("events", "sightings", "octets")),
        sa.PrimaryKeyConstraint("hour_ns", "facet_id", name=op.f("pk_rollups")),
    )
    op.add_column("events", sa.Column("facet_id", sa.BigInteger(), nullable=False, server_default="0"))
    for statement in _FILL:
        op.execute(statement)
    op.create_index(
        op.f("ix_events_facet_id_observed_at_ns_event_id"), "events", ["facet_id", "observed_at_ns", "event_id"]
    )


def downgrade() -> None:
    """Undo this revision."""
    op.drop_index(op.f("ix_events_facet_id_observed_at_ns_event_id"), "events")
    with op.batch_alter_table("events") as events:
        events.drop_column("facet_id")
    op.drop_table("rollups")
    op.drop_table("facets")
