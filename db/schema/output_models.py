"""The tables of outputs: where events go to by themselves, what could not be delivered, and who may call us back."""

from sqlalchemy import CheckConstraint, Index, false
from sqlalchemy.orm import Mapped, mapped_column

from db.schema.models import Base


class OutputRow(Base):
    """One `db.workflow.output_values.Output` with where it stands."""

    __tablename__ = "outputs"
    __table_args__ = (CheckConstraint("kind IN ('webhook', 'syslog', 'hec', 'apprise')", name="kind"),)

    output_id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    kind: Mapped[str]
    target: Mapped[dict[str, object]]
    wanted: Mapped[dict[str, object]]
    secrets: Mapped[bytes]
    created_by: Mapped[str]
    created_at_ns: Mapped[int]
    place: Mapped[int]
    delivered: Mapped[int]
    failures: Mapped[int]
    dead: Mapped[int]
    last_success_ns: Mapped[int | None]
    failing_since_ns: Mapped[int | None]
    last_error: Mapped[str]
    is_paused: Mapped[bool] = mapped_column(server_default=false())


class DeadLetterRow(Base):
    """One `db.workflow.output_values.DeadLetter`."""

    __tablename__ = "dead_letters"
    __table_args__ = (Index(None, "output_id", "letter_id"),)

    letter_id: Mapped[str] = mapped_column(primary_key=True)
    output_id: Mapped[str]
    event_id: Mapped[str]
    at_ns: Mapped[int]
    error: Mapped[str]


class WebhookSourceRow(Base):
    """One `db.workflow.output_values.WebhookSource`."""

    __tablename__ = "webhook_sources"

    source_id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    secrets: Mapped[bytes]
    created_by: Mapped[str]
    created_at_ns: Mapped[int]
