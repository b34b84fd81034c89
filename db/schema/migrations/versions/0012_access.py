"""People's sessions, the break-glass account, and the audit log, whose entries cannot be changed."""

import sqlalchemy as sa
from alembic import op

revision = "mc0012"
down_revision = "mc0011"
branch_labels = None
depends_on = None

_NO_UPDATE = """
CREATE TRIGGER audit_is_append_only BEFORE UPDATE ON audit
BEGIN SELECT RAISE(ABORT, 'an entry of the audit log cannot be changed'); END
"""


def _texts(*names: str) -> tuple[sa.Column[str], ...]:
    return tuple(sa.Column(name, sa.Text(), nullable=False) for name in names)


def _times(*names: str, nullable: bool = False) -> tuple[sa.Column[int], ...]:
    return tuple(sa.Column(name, sa.BigInteger(), nullable=nullable) for name in names)


def upgrade() -> None:
    """Apply this revision."""
    op.create_table(
        "sessions",
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        *_texts("session_id", "issuer", "subject", "name", "role", "acr", "address"),
        sa.Column("amr", sa.JSON(), nullable=False),
        *_times("authenticated_at_ns", "created_at_ns", "used_at_ns", "expires_at_ns"),
        *_times("revoked_at_ns", nullable=True),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_sessions")),
        sa.UniqueConstraint("session_id", name=op.f("uq_sessions_session_id")),
    )
    op.create_index(op.f("ix_sessions_expires_at_ns"), "sessions", ["expires_at_ns"])
    op.create_table(
        "accounts",
        *_texts("name", "password_hash"),
        sa.Column("is_for_loopback_only", sa.Boolean(), nullable=False),
        *_times("created_at_ns"),
        *_times("used_at_ns", nullable=True),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_accounts")),
    )
    op.create_table(
        "audit",
        *_times("seq", "at_ns"),
        *_texts("actor_kind", "actor_id", "actor_name", "address", "action", "target", "outcome"),
        *_texts("before", "after", "detail", "request_id", "chain"),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_audit")),
    )
    op.create_index(op.f("ix_audit_at_ns"), "audit", ["at_ns"])
    if op.get_bind().dialect.name == "sqlite":
        op.execute(_NO_UPDATE)


def downgrade() -> None:
    """Undo this revision."""
    for table in ("audit", "accounts", "sessions"):
        op.drop_table(table)
