"""What each consumer of the lists pulled last."""

import sqlalchemy as sa
from alembic import op

revision = "mc0009"
down_revision = "mc0008"
branch_labels = None
depends_on = None

_TEXTS = ("pull_id", "token_id", "consumer", "address", "user_agent", "list_name", "profile", "format")
_NUMBERS = ("serial", "status", "first_pull_ns", "last_pull_ns", "changed_ns", "pulls", "failures")


def upgrade() -> None:
    """Apply this revision."""
    op.create_table(
        "pulls",
        *(sa.Column(name, sa.Text(), nullable=False) for name in _TEXTS),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in _NUMBERS),
        sa.PrimaryKeyConstraint("pull_id", name=op.f("pk_pulls")),
    )
    op.create_index(op.f("ix_pulls_last_pull_ns"), "pulls", ["last_pull_ns"])


def downgrade() -> None:
    """Undo this revision."""
    op.drop_table("pulls")
