"""Which facets have sums, found by an index: those that have neither sums nor events leave."""

from alembic import op

revision = "mc0024"
down_revision = "mc0023"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply this revision."""
    op.create_index(op.f("ix_rollups_facet_id"), "rollups", ["facet_id"])


def downgrade() -> None:
    """Undo this revision."""
    op.drop_index(op.f("ix_rollups_facet_id"), "rollups")
