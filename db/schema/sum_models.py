"""The tables of what events add up to: by hour, by day, by source, and the parts of large findings."""

from sqlalchemy import Index
from sqlalchemy.orm import Mapped, mapped_column

from db.schema.models import Base

HOUR_NS = 3600 * 1_000_000_000
DAY_NS = 24 * HOUR_NS


class RollupRow(Base):
    """What the events of one facet that were observed in one hour sum up to, at their highest revisions."""

    __tablename__ = "rollups"
    __table_args__ = (Index(None, "facet_id"),)

    hour_ns: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    facet_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    events: Mapped[int]
    sightings: Mapped[int]
    octets: Mapped[int]


class DailySumRow(Base):
    """What the events of one day (UTC) from one source, or to one name, sum up to; an absent name is "".

    `dimension` is a `db.values.Dimension`: which of the two. There are never more of either than events. Rows stand in
    the order of their key, since all of a window are read at once.
    """

    __tablename__ = "daily_sums"
    __table_args__ = {"sqlite_with_rowid": False}  # noqa: RUF012 - SQLAlchemy declares it as a plain class attribute

    dimension: Mapped[str] = mapped_column(primary_key=True)
    day_ns: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    value: Mapped[str] = mapped_column(primary_key=True)
    events: Mapped[int]
    sightings: Mapped[int]
    octets: Mapped[int]


class SourceRow(Base):
    """Who uses a service, and when the newest event of both was observed and last seen; an absent service is "".

    A pair stays when a revision gives its only event to another service.
    """

    __tablename__ = "sources"

    service: Mapped[str] = mapped_column(primary_key=True)
    src_ip: Mapped[str] = mapped_column(primary_key=True)
    observed_at_ns: Mapped[int]
    last_seen_ns: Mapped[int]


class FindingPartRow(Base):
    """What the events of a large finding add up to that were observed within `span_ns` from `from_ns` (see `parts`).

    `tally` is the whole of it as JSON, a `db.findings.tally.Tally`; `last_seen_ns` is kept for what leaves by age.
    """

    __tablename__ = "finding_parts"
    __table_args__ = (Index(None, "last_seen_ns"), {"sqlite_with_rowid": False})

    finding_id: Mapped[str] = mapped_column(primary_key=True)
    span_ns: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    from_ns: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    last_seen_ns: Mapped[int]
    tally: Mapped[str]
