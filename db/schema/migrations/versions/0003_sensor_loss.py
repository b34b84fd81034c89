"""What the sensor lost while an event was seen; rows from before are not known to lack anything."""

import sqlalchemy as sa
from alembic import op

revision = "mc0003"
down_revision = "mc0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply this revision."""
    with op.batch_alter_table("events") as events:
        events.add_column(sa.Column("sensor_loss", sa.BigInteger(), nullable=False, server_default="0"))
        events.create_check_constraint(op.f("ck_events_sensor_loss"), "sensor_loss >= 0")
    with op.batch_alter_table("findings") as findings:
        findings.add_column(sa.Column("sensor_loss", sa.BigInteger(), nullable=False, server_default="0"))


def downgrade() -> None:
    """Undo this revision."""
    with op.batch_alter_table("findings") as findings:
        findings.drop_column("sensor_loss")
    with op.batch_alter_table("events") as events:
        events.drop_constraint(op.f("ck_events_sensor_loss"), type_="check")
        events.drop_column("sensor_loss")
