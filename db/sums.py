"""What is summed up as events are written, so that counting reads few rows: by hour and facet, and by source."""

from collections.abc import Iterable, Mapping

from sqlalchemy import Connection, delete, func, select

from db.engine import increment, raise_to
from db.facets import Facet
from db.models import EventRow, RollupRow, SourceRow
from db.tally import Contribution

HOUR_NS = 3600 * 1_000_000_000
_EVENTS = EventRow.metadata.tables[EventRow.__tablename__]
_ROLLUPS = RollupRow.metadata.tables[RollupRow.__tablename__]
_SOURCES = SourceRow.metadata.tables[SourceRow.__tablename__]


def add_to_sums(
    connection: Connection, changes: Iterable[tuple[Contribution | None, Contribution]], ids: Mapping[Facet, int]
) -> None:
    """Bring the sums up to date with events: pairs of the revision before, if any, and this one."""
    sums: dict[tuple[int, int], list[int]] = {}
    seen: dict[tuple[str, str], tuple[int, int]] = {}
    for earlier, new in changes:
        for each, sign in ((earlier, -1), (new, 1)):
            if each is not None:
                hour_ns = each.observed_at_ns - each.observed_at_ns % HOUR_NS
                row = sums.setdefault((hour_ns, ids[Facet.of(each)]), [0, 0, 0])
                row[0] += sign
                row[1] += sign * each.count
                row[2] += sign * (each.bytes_out + each.bytes_in)
        pair = (new.service or "", new.src_ip)
        observed_ns, last_ns = seen.get(pair, (0, 0))
        seen[pair] = max(observed_ns, new.observed_at_ns), max(last_ns, new.last_seen_ns)
    _add(connection, sums)
    _note(connection, seen)


def recount_sources(connection: Connection, pairs: Iterable[tuple[str, str]]) -> None:
    """Note again, from the events that are there, when each source (`src_ip`) used each service ("": none)."""
    for service, src_ip in pairs:
        is_theirs = (_EVENTS.c.src_ip == src_ip, func.coalesce(_EVENTS.c.service, "") == service)
        times = func.max(_EVENTS.c.observed_at_ns), func.max(_EVENTS.c.last_seen_ns)
        observed_ns, last_ns = connection.execute(select(*times).where(*is_theirs)).one()
        connection.execute(delete(_SOURCES).where(_SOURCES.c.service == service, _SOURCES.c.src_ip == src_ip))
        if observed_ns is not None:
            _note(connection, {(service, src_ip): (observed_ns, last_ns)})


def _add(connection: Connection, sums: Mapping[tuple[int, int], list[int]]) -> None:
    rows = [
        {"hour_ns": key[0], "facet_id": key[1], "events": row[0], "sightings": row[1], "octets": row[2]}
        for key, row in sums.items()
        if any(row)
    ]
    if rows:
        connection.execute(increment(connection, _ROLLUPS), rows)


def _note(connection: Connection, seen: Mapping[tuple[str, str], tuple[int, int]]) -> None:
    rows = [
        {"service": pair[0], "src_ip": pair[1], "observed_at_ns": times[0], "last_seen_ns": times[1]}
        for pair, times in seen.items()
    ]
    connection.execute(raise_to(connection, _SOURCES), rows)
