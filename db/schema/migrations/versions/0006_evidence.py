"""The packets that an event rests on, and how much of them there is."""

import sqlalchemy as sa
from alembic import op

revision = "mc0006"
down_revision = "mc0005"
branch_labels = None
depends_on = None

_META = sa.table("meta", sa.column("name", sa.Text()), sa.column("value", sa.BigInteger()))
_COUNTERS = ("evidence_octets", "evidence_evicted")


def upgrade() -> None:
    """Apply this revision: no packets were kept of the events that are there."""
    op.create_table(
        "evidence",
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("octets", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("event_id", name="pk_evidence"),
    )
    op.bulk_insert(_META, [{"name": name, "value": 0} for name in _COUNTERS])


def downgrade() -> None:
    """Undo this revision."""
    op.drop_table("evidence")
    op.execute(_META.delete().where(_META.c.name.in_(_COUNTERS)))
