"""What people do: history and assignee of findings, exceptions, decisions, own entries, searches, answered requests."""

import sqlalchemy as sa
from alembic import op

revision = "mc0010"
down_revision = "mc0009"
branch_labels = None
depends_on = None

_META = sa.table("meta", sa.column("name", sa.Text()), sa.column("value", sa.BigInteger()))
_TABLES = (
    *("finding_entries", "exceptions", "service_decisions", "blocked_entries", "saved_searches", "answered_requests"),
)
_FINDING_INDEXES = {
    "ix_findings_assignee_last_seen_ns_finding_id": ["assignee", "last_seen_ns", "finding_id"],
    "ix_findings_exception_id_service": ["exception_id", "service"],
}


def _texts(*names: str, nullable: bool = False) -> list[sa.Column[str]]:
    return [sa.Column(name, sa.Text(), nullable=nullable) for name in names]


def _numbers(*names: str, nullable: bool = False) -> list[sa.Column[int]]:
    return [sa.Column(name, sa.BigInteger(), nullable=nullable) for name in names]


def _jsons(*names: str) -> list[sa.Column[object]]:
    return [sa.Column(name, sa.JSON(), nullable=False) for name in names]


def upgrade() -> None:
    """Apply this revision."""
    with op.batch_alter_table("findings") as findings:
        findings.add_column(sa.Column("assignee", sa.Text(), nullable=True))
    for name, columns in _FINDING_INDEXES.items():
        op.create_index(op.f(name), "findings", columns)
    op.create_table(
        "finding_entries",
        *_texts("entry_id", "finding_id"),
        *_numbers("at_ns"),
        *_texts("actor", "kind"),
        *_texts("before", "after", nullable=True),
        *_texts("text"),
        sa.PrimaryKeyConstraint("entry_id", name=op.f("pk_finding_entries")),
    )
    op.create_index(op.f("ix_finding_entries_finding_id_entry_id"), "finding_entries", ["finding_id", "entry_id"])
    _create_policy()
    op.create_table(
        "saved_searches",
        *_texts("search_id", "owner", "name", "resource"),
        *_jsons("query"),
        sa.Column("is_shared", sa.Boolean(), nullable=False),
        *_numbers("changed_at_ns"),
        sa.PrimaryKeyConstraint("search_id", name=op.f("pk_saved_searches")),
    )
    op.create_index(op.f("ix_saved_searches_owner_search_id"), "saved_searches", ["owner", "search_id"])
    op.create_table(
        "answered_requests",
        *_texts("caller", "key"),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=False),
        *_numbers("at_ns", "status"),
        *_jsons("headers"),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("caller", "key", name=op.f("pk_answered_requests")),
    )
    op.create_index(op.f("ix_answered_requests_at_ns"), "answered_requests", ["at_ns"])
    op.bulk_insert(_META, [{"name": "overlay_revision", "value": 0}])


def _create_policy() -> None:
    op.create_table(
        "exceptions",
        *_texts("exception_id", "service"),
        *_jsons("sources", "users", "hosts", "macs", "executables", "containers"),
        *_texts("owner", "reason"),
        *_texts("expires", nullable=True),
        *_texts("status", "requested_by"),
        *_numbers("requested_at_ns"),
        *_texts("decided_by", nullable=True),
        *_numbers("decided_at_ns", nullable=True),
        *_texts("ended_by", nullable=True),
        *_numbers("ended_at_ns", nullable=True),
        sa.CheckConstraint(
            "status IN ('requested', 'active', 'rejected', 'revoked')", name=op.f("ck_exceptions_status")
        ),
        sa.PrimaryKeyConstraint("exception_id", name=op.f("pk_exceptions")),
    )
    op.create_index(op.f("ix_exceptions_status_exception_id"), "exceptions", ["status", "exception_id"])
    op.create_table(
        "service_decisions",
        *_texts("service", "decision", "owner", "reason", "changed_by"),
        *_numbers("changed_at_ns"),
        sa.PrimaryKeyConstraint("service", name=op.f("pk_service_decisions")),
    )
    op.create_table(
        "blocked_entries",
        *_texts("entry_id", "entry", "owner", "reason"),
        *_texts("expires", nullable=True),
        *_texts("created_by"),
        *_numbers("created_at_ns"),
        sa.PrimaryKeyConstraint("entry_id", name=op.f("pk_blocked_entries")),
    )


def downgrade() -> None:
    """Undo this revision."""
    op.execute(_META.delete().where(_META.c.name == "overlay_revision"))
    for name in _TABLES:
        op.drop_table(name)
    for name in _FINDING_INDEXES:
        op.drop_index(op.f(name), "findings")
    with op.batch_alter_table("findings") as findings:
        findings.drop_column("assignee")
