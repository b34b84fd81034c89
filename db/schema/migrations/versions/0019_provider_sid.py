"""What the provider calls a person's session; of sessions from before nothing is known."""

import sqlalchemy as sa
from alembic import op

revision = "mc0019"
down_revision = "mc0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply this revision."""
    with op.batch_alter_table("sessions") as sessions:
        sessions.add_column(sa.Column("provider_sid", sa.Text(), nullable=False, server_default=""))
    with op.batch_alter_table("sessions") as sessions:
        sessions.alter_column("provider_sid", existing_type=sa.Text(), existing_nullable=False, server_default=None)


def downgrade() -> None:
    """Undo this revision."""
    with op.batch_alter_table("sessions") as sessions:
        sessions.drop_column("provider_sid")
