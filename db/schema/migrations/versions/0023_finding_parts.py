"""Parts of large findings; one that is large already gets its own with its next event."""

import sqlalchemy as sa
from alembic import op

revision = "mc0023"
down_revision = "mc0022"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply this revision."""
    op.create_table(
        "finding_parts",
        sa.Column("finding_id", sa.Text(), nullable=False),
        sa.Column("span_ns", sa.BigInteger(), nullable=False, autoincrement=False),
        sa.Column("from_ns", sa.BigInteger(), nullable=False, autoincrement=False),
        sa.Column("last_seen_ns", sa.BigInteger(), nullable=False),
        sa.Column("tally", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("finding_id", "span_ns", "from_ns", name=op.f("pk_finding_parts")),
        sqlite_with_rowid=False,
    )
    op.create_index(op.f("ix_finding_parts_last_seen_ns"), "finding_parts", ["last_seen_ns"])
    with op.batch_alter_table("findings") as findings:
        findings.add_column(sa.Column("divided", sa.BigInteger(), nullable=False, server_default="0"))
    with op.batch_alter_table("findings") as findings:
        findings.alter_column("divided", existing_type=sa.BigInteger(), existing_nullable=False, server_default=None)


def downgrade() -> None:
    """Undo this revision."""
    with op.batch_alter_table("findings") as findings:
        findings.drop_column("divided")
    op.drop_table("finding_parts")
