"""An output can be paused."""

import sqlalchemy as sa
from alembic import op

revision = "mc0015"
down_revision = "mc0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply this revision."""
    op.add_column("outputs", sa.Column("is_paused", sa.Boolean(), nullable=False, server_default=sa.false()))


def downgrade() -> None:
    """Undo this revision."""
    op.drop_column("outputs", "is_paused")
