"""What is summed up as events are written, so that counting reads few rows.

By hour and facet; by day and source, and day and name; and who uses which service.
"""

from collections.abc import Iterable, Mapping

from sqlalchemy import Connection, Table, delete, func, select

from db.findings.tally import Contribution
from db.schema.models import DAYS_FROM, HOURS_FROM, EventRow
from db.schema.numbers import number
from db.schema.sum_models import DAY_NS, HOUR_NS, DailySumRow, RollupRow, SourceRow
from db.sql.engine import increment, raise_to
from db.sql.prepared import write_rows
from db.values import Dimension

_EVENTS = EventRow.metadata.tables[EventRow.__tablename__]
_ROLLUPS = RollupRow.metadata.tables[RollupRow.__tablename__]
_DAYS = DailySumRow.metadata.tables[DailySumRow.__tablename__]
_SOURCES = SourceRow.metadata.tables[SourceRow.__tablename__]
SUMMED = _SRC, _DST = Dimension.SRC.value, Dimension.DST.value
Numbers = tuple[int, int, int]  # of events, sightings and octets
Sums = dict[tuple[int | str, ...], Numbers]


def add_to_sums(connection: Connection, changes: Iterable[tuple[Contribution | None, Contribution]]) -> None:
    """Bring the sums up to date with events: pairs of the revision before, if any, and this one.

    Of a time whose sums have left by age a new event makes some until they leave again; an update makes none.
    """
    hours: Sums = {}
    days: Sums = {}
    seen: dict[tuple[str, str], tuple[int, int]] = {}
    left_from = number(connection, HOURS_FROM), number(connection, DAYS_FROM)
    for earlier, new in changes:
        if earlier is None:
            _sum_up(new, 1, hours, days)
        else:
            _sum_up(earlier, -1, hours, days, left_from)
            _sum_up(new, 1, hours, days, left_from)
        pair = (new.service or "", new.src_ip)
        observed_ns, last_ns = seen.get(pair, (0, 0))
        seen[pair] = max(observed_ns, new.observed_at_ns), max(last_ns, new.last_seen_ns)
    _write(connection, _ROLLUPS, hours)
    _write(connection, _DAYS, days)
    _note(connection, seen)


def take_from_days(connection: Connection, removed: Iterable[Contribution]) -> None:
    """Take events that were removed off the daily sums."""
    days: Sums = {}
    left_from = 0, number(connection, DAYS_FROM)
    for each in removed:
        _sum_up(each, -1, {}, days, left_from)
    _write(connection, _DAYS, days)


def recount_sources(connection: Connection, pairs: Iterable[tuple[str, str]]) -> None:
    """Note again, from the events that are there, when each source (`src_ip`) used each service ("": none)."""
    for service, src_ip in pairs:
        is_theirs = (_EVENTS.c.src_ip == src_ip, func.coalesce(_EVENTS.c.service, "") == service)
        times = func.max(_EVENTS.c.observed_at_ns), func.max(_EVENTS.c.last_seen_ns)
        observed_ns, last_ns = connection.execute(select(*times).where(*is_theirs)).one()
        connection.execute(delete(_SOURCES).where(_SOURCES.c.service == service, _SOURCES.c.src_ip == src_ip))
        if observed_ns is not None:
            _note(connection, {(service, src_ip): (observed_ns, last_ns)})


def _sum_up(each: Contribution, sign: int, hours: Sums, days: Sums, left_from: tuple[int, int] = (0, 0)) -> None:
    """Add an event to sums, or take it off: of hours and of days from `left_from` on."""
    numbers = sign, sign * each.count, sign * (each.bytes_out + each.bytes_in)
    hour_ns, day_ns = (each.observed_at_ns - each.observed_at_ns % span_ns for span_ns in (HOUR_NS, DAY_NS))
    if hour_ns >= left_from[0]:
        _add(hours, (hour_ns, each.facet_id), numbers)
    if day_ns >= left_from[1]:
        _add(days, (_SRC, day_ns, each.src_ip), numbers)
        _add(days, (_DST, day_ns, each.dst_name or ""), numbers)


def _add(sums: Sums, key: tuple[int | str, ...], more: Numbers) -> None:
    held = sums.get(key)
    sums[key] = (held[0] + more[0], held[1] + more[1], held[2] + more[2]) if held else more


def _write(connection: Connection, table: Table, sums: Sums) -> None:
    """Add what has changed to the rows of `table`: its columns are those of the key, then the numbers."""
    rows = [(*key, *numbers) for key, numbers in sorted(sums.items()) if any(numbers)]
    write_rows(connection, increment(connection, table), rows)


def _note(connection: Connection, seen: Mapping[tuple[str, str], tuple[int, int]]) -> None:
    """Raise the times in the rows of `sources`: service and address, when observed and when last seen."""
    write_rows(connection, raise_to(connection, _SOURCES), [(*pair, *times) for pair, times in seen.items()])
