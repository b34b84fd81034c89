"""The documents of the installation: whether it works, and what came of its demonstration."""

from pydantic import Field

from api.schemas.document import Document


class DemonstrationDocument(Document):
    """What came of the demonstration."""

    events: int = Field(description="Events stored, or removed", examples=[4])


class HealthDocument(Document):
    """The process answers."""

    status: str = Field(examples=["ok"])
    version: str = Field(examples=["0.1.0"])


class CheckDocument(Document):
    """One condition of readiness."""

    check: str = Field(examples=["database"])
    is_ok: bool
    detail: str = Field(examples=["writable"])


class ReadinessDocument(Document):
    """Everything that must work does."""

    status: str = Field(examples=["ready"])
    checks: list[CheckDocument]
