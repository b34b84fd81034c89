"""When an event was stored, by which rules and policy, where its sensor stands, which way it went and what said no.

Nothing of this is known of the events that are there. Facets learn which of the blocked events somebody refused.
"""

import sqlalchemy as sa
from alembic import op

revision = "mc0021"
down_revision = "mc0020"
branch_labels = None
depends_on = None

_TEXTS = ("refusal", "rule_id", "rule_version", "policy_digest", "sensor_name", "site", "direction")
_KEY = ("verdict", "role", "severity", "state", "service", "sensor_id")
_ACTIONS = """
UPDATE facets SET action =
CASE state WHEN 'live' THEN 'allowed' WHEN 'blocked' THEN 'blocked' ELSE 'observed' END
"""


def upgrade() -> None:
    """Apply this revision: the columns of events are added in place, whatever their number."""
    op.add_column("events", sa.Column("received_at_ns", sa.BigInteger(), nullable=True))
    for name in _TEXTS:
        op.add_column("events", sa.Column(name, sa.Text(), nullable=True))
    op.add_column("facets", sa.Column("action", sa.Text(), nullable=False, server_default=""))
    op.execute(_ACTIONS)
    with op.batch_alter_table("facets") as facets:
        facets.alter_column("action", existing_type=sa.Text(), existing_nullable=False, server_default=None)
        facets.drop_constraint(op.f("uq_facets_verdict_role_severity_state_service_sensor_id"), type_="unique")
        facets.create_unique_constraint(
            op.f("uq_facets_verdict_role_severity_state_action_service_sensor_id"),
            ["verdict", "role", "severity", "state", "action", "service", "sensor_id"],
        )


def downgrade() -> None:
    """Undo this revision: facets that differ in the action alone become one again."""
    first = "SELECT MIN(f.facet_id) FROM facets AS f JOIN facets AS g ON {same} WHERE g.facet_id = {table}.facet_id"
    same = " AND ".join(f"f.{name} = g.{name}" for name in _KEY)
    op.execute(f"UPDATE events SET facet_id = ({first.format(same=same, table='events')})")  # noqa: S608 - names of ours
    op.execute("DELETE FROM rollups")
    op.execute(f"DELETE FROM facets WHERE facet_id > ({first.format(same=same, table='facets')})")  # noqa: S608 - names of ours
    op.execute(
        """
        INSERT INTO rollups (hour_ns, facet_id, events, sightings, octets)
        SELECT observed_at_ns - observed_at_ns % 3600000000000, facet_id,
        COUNT(*), SUM(count), SUM(bytes_out + bytes_in)
        FROM events GROUP BY 1, 2
        """
    )
    with op.batch_alter_table("facets") as facets:
        facets.drop_constraint(op.f("uq_facets_verdict_role_severity_state_action_service_sensor_id"), type_="unique")
        facets.drop_column("action")
        facets.create_unique_constraint(op.f("uq_facets_verdict_role_severity_state_service_sensor_id"), list(_KEY))
    with op.batch_alter_table("events") as events:
        for name in ("received_at_ns", *_TEXTS):
            events.drop_column(name)
