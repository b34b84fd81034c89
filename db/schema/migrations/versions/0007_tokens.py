"""Tokens of the machines that pull lists or send events, and the number that counts their changes."""

import sqlalchemy as sa
from alembic import op

revision = "mc0007"
down_revision = "mc0006"
branch_labels = None
depends_on = None

_TEXTS = ("list_name", "profile", "sensor_id")
_TIMES = ("expires_at_ns", "revoked_at_ns", "last_used_ns")


def upgrade() -> None:
    """Apply this revision."""
    op.create_table(
        "tokens",
        sa.Column("token_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        *(sa.Column(name, sa.JSON(), nullable=False) for name in ("scopes", "allowed", "denied")),
        *(sa.Column(name, sa.Text(), nullable=True) for name in _TEXTS),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("previous_digest", sa.LargeBinary(), nullable=True),
        sa.Column("created_at_ns", sa.BigInteger(), nullable=False),
        *(sa.Column(name, sa.BigInteger(), nullable=True) for name in _TIMES),
        sa.PrimaryKeyConstraint("token_id", name=op.f("pk_tokens")),
    )
    meta = sa.table("meta", sa.column("name"), sa.column("value"))
    op.bulk_insert(meta, [{"name": "token_revision", "value": 0}])


def downgrade() -> None:
    """Undo this revision."""
    op.execute("DELETE FROM meta WHERE name = 'token_revision'")
    op.drop_table("tokens")
