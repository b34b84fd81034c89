"""What events and findings carried: octets each way, packets and duration."""

import sqlalchemy as sa
from alembic import op

revision = "mc0002"
down_revision = "mc0001"
branch_labels = None
depends_on = None

_COLUMNS = {"events": ("bytes_out", "bytes_in", "packets", "duration_ms"), "findings": ("bytes_out", "bytes_in")}
_IS_COUNT = "bytes_out >= 0 AND bytes_in >= 0 AND packets >= 0 AND duration_ms >= 0"


def upgrade() -> None:
    """Apply this revision: rows that are there carried nothing that was counted."""
    for table, names in _COLUMNS.items():
        with op.batch_alter_table(table) as columns:
            for name in names:
                columns.add_column(sa.Column(name, sa.BigInteger(), nullable=False, server_default="0"))
            if table == "events":
                columns.create_check_constraint(op.f("ck_events_traffic"), _IS_COUNT)


def downgrade() -> None:
    """Undo this revision."""
    for table, names in _COLUMNS.items():
        with op.batch_alter_table(table) as columns:
            if table == "events":
                columns.drop_constraint(op.f("ck_events_traffic"), type_="check")
            for name in names:
                columns.drop_column(name)
