"""Outputs: where events go to by themselves, what could not be delivered, and who may call back."""

import sqlalchemy as sa
from alembic import op

revision = "mc0013"
down_revision = "mc0012"
branch_labels = None
depends_on = None


def _texts(*names: str) -> list[sa.Column[str]]:
    return [sa.Column(name, sa.Text(), nullable=False) for name in names]


def _numbers(*names: str, nullable: bool = False) -> list[sa.Column[int]]:
    return [sa.Column(name, sa.BigInteger(), nullable=nullable) for name in names]


def upgrade() -> None:
    """Apply this revision."""
    op.create_table(
        "outputs",
        *_texts("output_id", "name", "kind"),
        *(sa.Column(name, sa.JSON(), nullable=False) for name in ("target", "wanted")),
        sa.Column("secrets", sa.LargeBinary(), nullable=False),
        *_texts("created_by", "last_error"),
        *_numbers("created_at_ns", "place", "delivered", "failures", "dead"),
        *_numbers("last_success_ns", "failing_since_ns", nullable=True),
        sa.CheckConstraint("kind IN ('webhook', 'syslog', 'hec', 'apprise')", name=op.f("ck_outputs_kind")),
        sa.PrimaryKeyConstraint("output_id", name=op.f("pk_outputs")),
    )
    op.create_table(
        "dead_letters",
        *_texts("letter_id", "output_id", "event_id", "error"),
        *_numbers("at_ns"),
        sa.PrimaryKeyConstraint("letter_id", name=op.f("pk_dead_letters")),
    )
    op.create_index(op.f("ix_dead_letters_output_id_letter_id"), "dead_letters", ["output_id", "letter_id"])
    op.create_table(
        "webhook_sources",
        *_texts("source_id", "name", "created_by"),
        sa.Column("secrets", sa.LargeBinary(), nullable=False),
        *_numbers("created_at_ns"),
        sa.PrimaryKeyConstraint("source_id", name=op.f("pk_webhook_sources")),
    )


def downgrade() -> None:
    """Undo this revision."""
    for name in ("webhook_sources", "dead_letters", "outputs"):
        op.drop_table(name)
