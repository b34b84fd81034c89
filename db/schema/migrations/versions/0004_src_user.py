"""Whose an event was: the name under which somebody signed in at a proxy."""

import sqlalchemy as sa
from alembic import op

revision = "mc0004"
down_revision = "mc0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply this revision."""
    with op.batch_alter_table("events") as columns:
        columns.add_column(sa.Column("src_user", sa.Text(), nullable=True))


def downgrade() -> None:
    """Undo this revision."""
    with op.batch_alter_table("events") as columns:
        columns.drop_column("src_user")
