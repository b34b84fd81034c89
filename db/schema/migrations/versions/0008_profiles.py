"""Snapshots of each profile: those that are there are of the profile that there was."""

import sqlalchemy as sa
from alembic import op

revision = "mc0008"
down_revision = "mc0007"
branch_labels = None
depends_on = None

_KEY = "pk_snapshots"


def upgrade() -> None:
    """Apply this revision."""
    with op.batch_alter_table("snapshots") as table:
        table.add_column(sa.Column("profile", sa.Text(), nullable=False, server_default="agents-only"))
        table.drop_constraint(_KEY, type_="primary")
        table.create_primary_key(_KEY, ["list_name", "profile", "serial"])
    with op.batch_alter_table("snapshots") as table:
        table.alter_column("profile", existing_type=sa.Text(), existing_nullable=False, server_default=None)


def downgrade() -> None:
    """Undo this revision: only the first profile stays."""
    op.execute("DELETE FROM snapshots WHERE profile <> 'agents-only'")
    with op.batch_alter_table("snapshots") as table:
        table.drop_constraint(_KEY, type_="primary")
        table.drop_column("profile")
        table.create_primary_key(_KEY, ["list_name", "serial"])
