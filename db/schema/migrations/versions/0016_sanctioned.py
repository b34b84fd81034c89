"""Sanctioned ingresses that were made over the API, and own entries that are kept off every list."""

import sqlalchemy as sa
from alembic import op

revision = "mc0016"
down_revision = "mc0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply this revision."""
    op.create_table(
        "sanctioned_ingresses",
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("sanction_id", "domain", "service")),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("owner", "reason")),
        sa.Column("expires", sa.Text(), nullable=True),
        sa.Column("addresses", sa.JSON(), nullable=False),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("status", "requested_by")),
        sa.Column("requested_at_ns", sa.BigInteger(), nullable=False),
        sa.Column("decided_by", sa.Text(), nullable=True),
        sa.Column("decided_at_ns", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("status IN ('requested', 'active')", name=op.f("ck_sanctioned_ingresses_status")),
        sa.PrimaryKeyConstraint("sanction_id", name=op.f("pk_sanctioned_ingresses")),
        sa.UniqueConstraint("domain", name=op.f("uq_sanctioned_ingresses_domain")),
    )
    with op.batch_alter_table("blocked_entries") as entries:
        entries.add_column(sa.Column("is_never", sa.Boolean(), nullable=False, server_default=sa.false()))
    with op.batch_alter_table("blocked_entries") as entries:
        entries.alter_column("is_never", server_default=None)


def downgrade() -> None:
    """Undo this revision."""
    with op.batch_alter_table("blocked_entries") as entries:
        entries.drop_column("is_never")
    op.drop_table("sanctioned_ingresses")
