"""What is too old leaves, a few rows a transaction, so that nobody waits long for the lock. How many left is counted.

An event leaves with its packets, a finding with its history. A finding keeps what it counted of events that have left;
only where a later revision takes something back is it counted again, from the events or parts that are there.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    Table,
    bindparam,
    delete,
    exists,
    func,
    insert,
    or_,
    select,
    update,
)

from db.events import evidence
from db.events.sums import SUMMED
from db.findings import history, parts
from db.schema.models import DAYS_FROM, HOURS_FROM, EventRow, FacetRow, FindingRow, MetaRow, SensorRow, TokenRow
from db.schema.numbers import raise_number
from db.schema.sum_models import DAY_NS, DailySumRow, FindingPartRow, RollupRow, SourceRow
from db.schema.workflow_models import ExceptionRow
from db.sql.engine import reading, writing

ROWS_A_TRANSACTION = 500
_EVENTS = EventRow.metadata.tables[EventRow.__tablename__]
_FACETS = FacetRow.metadata.tables[FacetRow.__tablename__]
_FINDINGS = FindingRow.metadata.tables[FindingRow.__tablename__]
_PARTS = FindingPartRow.metadata.tables[FindingPartRow.__tablename__]
_EXCEPTIONS = ExceptionRow.metadata.tables[ExceptionRow.__tablename__]
_SENSORS = SensorRow.metadata.tables[SensorRow.__tablename__]
_ROLLUPS = RollupRow.metadata.tables[RollupRow.__tablename__]
_DAYS = DailySumRow.metadata.tables[DailySumRow.__tablename__]
_SOURCES = SourceRow.metadata.tables[SourceRow.__tablename__]
_TOKENS = TokenRow.metadata.tables[TokenRow.__tablename__]
_PURGED = "purged_"


class Aging(StrEnum):
    """What leaves by age: what was not seen since, silent sensors, sums and uses, exceptions and tokens that ended.

    Facets leave once nothing has them any more.
    """

    EVENTS = "events"
    FINDINGS = "findings"
    FINDING_PARTS = "finding_parts"
    EXCEPTIONS = "exceptions"
    SENSORS = "sensors"
    SUMS = "sums"
    DAILY_SUMS = "daily_sums"
    SOURCES = "sources"
    TOKENS = "tokens"
    FACETS = "facets"


_LEFT_FROM = {Aging.SUMS: (HOURS_FROM, 0), Aging.DAILY_SUMS: (DAYS_FROM, DAY_NS)}  # from when on sums are left


class RetentionStore:
    """Removes what is too old, one transaction a method."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def purge(self, what: Aging, before_ns: int) -> int:
        """Remove up to `ROWS_A_TRANSACTION` rows that are older than `before_ns`, and return how many."""
        with writing(self._engine) as connection:
            table, is_old = _old(what, before_ns)
            oldest = select(*table.primary_key).where(*is_old).limit(ROWS_A_TRANSACTION)
            keys = [tuple(row) for row in connection.execute(oldest)]
            if keys:
                _remove(connection, what, table, keys)
                if what in _LEFT_FROM:
                    name, later_ns = _LEFT_FROM[what]
                    raise_number(connection, name, before_ns - later_ns)
                _count(connection, what, len(keys))
            return len(keys)

    def purge_facets(self, above: int) -> int | None:
        """Remove which of the `ROWS_A_TRANSACTION` facets with numbers above `above` nothing has any more.

        Returns:
            The last number looked at, from which another call goes on; None where there are no more.
        """
        with writing(self._engine) as connection:
            facet_id = _FACETS.c.facet_id
            numbers = select(facet_id).where(facet_id > above).order_by(facet_id).limit(ROWS_A_TRANSACTION)
            some = list(connection.execute(numbers).scalars())
            if not some:
                return None
            is_had = (exists().where(table.c.facet_id == facet_id) for table in (_EVENTS, _ROLLUPS))
            is_dead = (facet_id > above, facet_id <= some[-1], *(~had for had in is_had))
            removed = connection.execute(delete(_FACETS).where(*is_dead)).rowcount
            _count(connection, Aging.FACETS, removed)
            return some[-1] if len(some) == ROWS_A_TRANSACTION else None

    def purged(self) -> Mapping[Aging, int]:
        """Return how many rows of each kind have left since the beginning."""
        with reading(self._engine) as connection:
            query = select(MetaRow.name, MetaRow.value).where(MetaRow.name.in_([_PURGED + what for what in Aging]))
            found = {row.name: row.value for row in connection.execute(query)}
        return {what: found.get(_PURGED + what, 0) for what in Aging}


def _old(what: Aging, before_ns: int) -> tuple[Table, Sequence[ColumnElement[bool]]]:
    ended = _EXCEPTIONS.c
    ended_ns = func.coalesce(ended.ended_at_ns, ended.decided_at_ns, ended.requested_at_ns)
    return {
        Aging.EVENTS: (_EVENTS, (_EVENTS.c.observed_at_ns < before_ns, _EVENTS.c.last_seen_ns < before_ns)),
        Aging.FINDINGS: (_FINDINGS, (_FINDINGS.c.last_seen_ns < before_ns,)),
        Aging.FINDING_PARTS: (
            _PARTS,
            (_PARTS.c.last_seen_ns < before_ns, _PARTS.c.from_ns < before_ns - _PARTS.c.span_ns),
        ),
        Aging.EXCEPTIONS: (_EXCEPTIONS, (ended.status.in_(("rejected", "revoked")), ended_ns < before_ns)),
        Aging.SENSORS: (_SENSORS, (_SENSORS.c.heartbeat_ns < before_ns,)),
        Aging.SUMS: (_ROLLUPS, (_ROLLUPS.c.hour_ns < before_ns,)),
        Aging.DAILY_SUMS: (_DAYS, (_DAYS.c.dimension.in_(SUMMED), _DAYS.c.day_ns < before_ns - DAY_NS)),
        Aging.SOURCES: (_SOURCES, (_SOURCES.c.last_seen_ns < before_ns, _SOURCES.c.observed_at_ns < before_ns)),
        Aging.TOKENS: (_TOKENS, (or_(_TOKENS.c.revoked_at_ns < before_ns, _TOKENS.c.expires_at_ns < before_ns),)),
    }[what]


def _remove(connection: Connection, what: Aging, table: Table, keys: Sequence[tuple[Any, ...]]) -> None:
    ids = [key[0] for key in keys]
    if what is Aging.EVENTS:
        evidence.remove(connection, ids)
    if what is Aging.FINDINGS:
        history.remove(connection, ids)
        parts.remove(connection, ids)
    columns = list(table.primary_key)
    is_gone = (column == bindparam(f"gone{place}") for place, column in enumerate(columns))
    rows = [{f"gone{place}": part for place, part in enumerate(key)} for key in keys]
    connection.execute(delete(table).where(*is_gone), rows)  # row by row: SQLite reads all of a table for (a, b) IN ...


def _count(connection: Connection, what: Aging, number: int) -> None:
    name = _PURGED + what
    changed = update(MetaRow).where(MetaRow.name == name).values(value=MetaRow.value + number)
    if not connection.execute(changed).rowcount:
        connection.execute(insert(MetaRow).values(name=name, value=number))
