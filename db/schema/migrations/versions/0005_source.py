"""Who an event is about: process, user and container of a local source, name and hardware address of another host."""

import sqlalchemy as sa
from alembic import op

revision = "mc0005"
down_revision = "mc0004"
branch_labels = None
depends_on = None

_TEXTS = ("src_host", "src_mac", "src_process", "src_exe", "src_cmdline", "src_container")
_NUMBERS = ("src_uid", "src_pid")


def upgrade() -> None:
    """Apply this revision: nothing is known of the events that are there."""
    with op.batch_alter_table("events") as columns:
        for name in _TEXTS:
            columns.add_column(sa.Column(name, sa.Text(), nullable=True))
        for name in _NUMBERS:
            columns.add_column(sa.Column(name, sa.BigInteger(), nullable=True))


def downgrade() -> None:
    """Undo this revision."""
    with op.batch_alter_table("events") as columns:
        for name in (*_TEXTS, *_NUMBERS):
            columns.drop_column(name)
