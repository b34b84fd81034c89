"""The documents of services and of the catalogue they stand in."""

from datetime import date, datetime

from pydantic import Field

from api.schemas.document import TIME, Document
from rules.values.verdict import Decision


class SeenDocument(Document):
    """What was seen of a service in the window."""

    events: int = Field(examples=[4])
    sightings: int = Field(examples=[12])
    sources: int = Field(description="Distinct source addresses", examples=[1])
    last_seen: datetime | None = Field(examples=[TIME])


class ServiceDocument(Document):
    """A service of the catalogue; `id` null gathers events that name no service."""

    id: str | None = Field(examples=["ngrok"])
    name: str = Field(examples=["ngrok"])
    category: str | None = Field(examples=["reverse-tunnel"])
    confidence: str | None = Field(examples=["high"])
    decision: Decision | None
    homepage: str | None = Field(examples=["https://tunnel.example/"])
    seen: SeenDocument


class CatalogueDocument(Document):
    """The catalogue in force; `warning` is a sentence where it is old."""

    version: str = Field(examples=["2026.11.23"])
    generated: date = Field(examples=["2026-11-23"])
    age_days: int = Field(examples=[6])
    is_old: bool
    origin: str = Field(description="the program, or an update", examples=["the program"])
    additions: list[str] = Field(description="Files of the organisation's own in it", examples=[["partner.toml"]])
    warning: str = Field(examples=[""])


class ServiceList(Document):
    """Services, the most recently seen first, then by name."""

    catalogue: CatalogueDocument
    seen_from: datetime = Field(examples=[TIME])
    seen_to: datetime = Field(examples=[TIME])
    items: list[ServiceDocument]
