"""When a finding's tunnel was in its state last; of rows from before, when the finding was seen last."""

import sqlalchemy as sa
from alembic import op

revision = "mc0011"
down_revision = "mc0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply this revision."""
    with op.batch_alter_table("findings") as findings:
        findings.add_column(sa.Column("tunnel_state_at_ns", sa.BigInteger(), nullable=False, server_default="0"))
    op.execute("UPDATE findings SET tunnel_state_at_ns = last_seen_ns WHERE tunnel_state <> 'attempted'")
    with op.batch_alter_table("findings") as findings:
        findings.alter_column(
            "tunnel_state_at_ns", existing_type=sa.BigInteger(), existing_nullable=False, server_default=None
        )


def downgrade() -> None:
    """Undo this revision."""
    with op.batch_alter_table("findings") as findings:
        findings.drop_column("tunnel_state_at_ns")
