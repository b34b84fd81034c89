"""The first schema: events, findings, sensors, snapshots, resolutions."""

import sqlalchemy as sa
from alembic import op

revision = "mc0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply this revision."""
    _create_events()
    _index_events()
    _create_findings()
    _create_others()
    meta = sa.table("meta", sa.column("name"), sa.column("value"))
    op.bulk_insert(meta, [{"name": "ingest_seq", "value": 0}, {"name": "write_probe", "value": 0}])


def downgrade() -> None:
    """Undo this revision."""
    op.drop_table("snapshots")
    op.drop_table("sensors")
    op.drop_table("resolutions")
    op.drop_table("meta")
    op.drop_table("findings")
    op.drop_table("events")


def _create_events() -> None:
    op.create_table(
        "events",
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("ingest_seq", sa.BigInteger(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("schema_version", sa.Text(), nullable=False),
        sa.Column("observed_at_ns", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("verdict", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("service", sa.Text(), nullable=True),
        sa.Column("service_category", sa.Text(), nullable=True),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("severity", sa.Text(), nullable=False),
        sa.Column("confidence", sa.BigInteger(), nullable=False),
        sa.Column("reasons", sa.JSON(), nullable=False),
        sa.Column("sensor_id", sa.Text(), nullable=False),
        sa.Column("src_ip", sa.Text(), nullable=False),
        sa.Column("src_port", sa.BigInteger(), nullable=False),
        sa.Column("dst_ip", sa.Text(), nullable=False),
        sa.Column("dst_port", sa.BigInteger(), nullable=False),
        sa.Column("dst_name", sa.Text(), nullable=True),
        sa.Column("transport", sa.Text(), nullable=False),
        sa.Column("interface", sa.Text(), nullable=False),
        sa.Column("dns_query", sa.Text(), nullable=True),
        sa.Column("dns_type", sa.BigInteger(), nullable=True),
        sa.Column("dns_rcode", sa.BigInteger(), nullable=True),
        sa.Column("dns_answers", sa.JSON(), nullable=False),
        sa.Column("tls_sni", sa.Text(), nullable=True),
        sa.Column("alpn", sa.JSON(), nullable=False),
        sa.Column("ja4", sa.Text(), nullable=True),
        sa.Column("exception_id", sa.Text(), nullable=True),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.Column("first_seen_ns", sa.BigInteger(), nullable=False),
        sa.Column("last_seen_ns", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("verdict <> 'unknown'", name=op.f("ck_events_verdict")),
        sa.CheckConstraint("confidence BETWEEN 0 AND 100", name=op.f("ck_events_confidence")),
        sa.CheckConstraint("count >= 1", name=op.f("ck_events_count")),
        sa.CheckConstraint("revision >= 1", name=op.f("ck_events_revision")),
        sa.CheckConstraint(
            "src_port BETWEEN 0 AND 65535 AND dst_port BETWEEN 0 AND 65535", name=op.f("ck_events_ports")
        ),
        sa.PrimaryKeyConstraint("event_id", name=op.f("pk_events")),
        sa.UniqueConstraint("ingest_seq", name=op.f("uq_events_ingest_seq")),
    )


def _index_events() -> None:
    _index("events", ["dst_ip", "observed_at_ns", "event_id"])
    _index("events", ["dst_name", "observed_at_ns", "event_id"])
    _index("events", ["observed_at_ns", "event_id"])
    _index("events", ["service", "observed_at_ns", "event_id"])
    _index("events", ["src_ip", "observed_at_ns", "event_id"])
    _index("events", ["verdict", "observed_at_ns", "event_id"])


def _create_findings() -> None:
    op.create_table(
        "findings",
        sa.Column("finding_id", sa.Text(), nullable=False),
        sa.Column("src_ip", sa.Text(), nullable=False),
        sa.Column("service", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("verdict", sa.Text(), nullable=False),
        sa.Column("severity", sa.Text(), nullable=False),
        sa.Column("confidence", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("tunnel_state", sa.Text(), nullable=False),
        sa.Column("first_seen_ns", sa.BigInteger(), nullable=False),
        sa.Column("last_seen_ns", sa.BigInteger(), nullable=False),
        sa.Column("events", sa.BigInteger(), nullable=False),
        sa.Column("sightings", sa.BigInteger(), nullable=False),
        sa.Column("dst_name", sa.Text(), nullable=True),
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("sensor_id", sa.Text(), nullable=False),
        sa.Column("exception_id", sa.Text(), nullable=True),
        sa.Column("decision", sa.Text(), nullable=True),
        sa.Column("decided_at_ns", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("finding_id", name=op.f("pk_findings")),
        sa.UniqueConstraint("src_ip", "service", "role", name=op.f("uq_findings_src_ip_service_role")),
    )
    _index("findings", ["last_seen_ns", "finding_id"])
    _index("findings", ["service", "last_seen_ns", "finding_id"])
    _index("findings", ["src_ip", "last_seen_ns", "finding_id"])
    _index("findings", ["state", "last_seen_ns", "finding_id"])


def _create_others() -> None:
    op.create_table(
        "meta",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_meta")),
    )
    op.create_table(
        "resolutions",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("addresses", sa.JSON(), nullable=False),
        sa.Column("resolved_at_ns", sa.BigInteger(), nullable=False),
        sa.Column("ok", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_resolutions")),
    )
    op.create_table(
        "sensors",
        sa.Column("sensor_id", sa.Text(), nullable=False),
        sa.Column("hostname", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("started_at_ns", sa.BigInteger(), nullable=False),
        sa.Column("heartbeat_ns", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("sensor_id", name=op.f("pk_sensors")),
    )
    op.create_table(
        "snapshots",
        sa.Column("list_name", sa.Text(), nullable=False),
        sa.Column("serial", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("created_at_ns", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("list_name", "serial", name=op.f("pk_snapshots")),
    )


def _index(table: str, columns: list[str]) -> None:
    op.create_index(op.f(f"ix_{table}_{'_'.join(columns)}"), table, columns)
