"""Profiles of the lists that were made over the API."""

import sqlalchemy as sa
from alembic import op

revision = "mc0018"
down_revision = "mc0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply this revision."""
    op.create_table(
        "list_profiles",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("chosen", sa.JSON(), nullable=False),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("owner", "reason", "changed_by")),
        sa.Column("changed_at_ns", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_list_profiles")),
    )


def downgrade() -> None:
    """Undo this revision."""
    op.drop_table("list_profiles")
