"""The groups that the provider named at a sign-in; of sessions from before nothing is known, so they end."""

import sqlalchemy as sa
from alembic import op

revision = "mc0022"
down_revision = "mc0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply this revision."""
    with op.batch_alter_table("sessions") as sessions:
        sessions.add_column(sa.Column("provider_groups", sa.JSON(), nullable=False, server_default="[]"))
    with op.batch_alter_table("sessions") as sessions:
        sessions.alter_column("provider_groups", existing_type=sa.JSON(), existing_nullable=False, server_default=None)


def downgrade() -> None:
    """Undo this revision."""
    with op.batch_alter_table("sessions") as sessions:
        sessions.drop_column("provider_groups")
