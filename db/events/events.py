"""Events: written in batches, asked for by page, by id, and in the order of commits; `aggregates` counts them."""

from collections.abc import Iterable, Iterator, Sequence
from operator import attrgetter
from typing import Any

import msgspec
from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    RowMapping,
    Select,
    bindparam,
    func,
    select,
    tuple_,
)

from db.events.facets import Facet, facet_conditions, facet_ids, is_few
from db.events.filters import end_conditions, event_conditions
from db.events.search import holders, members
from db.events.sums import add_to_sums
from db.findings.findings import contributions, update_findings
from db.findings.tally import Contribution
from db.schema.models import INGEST_SEQ, EventRow, FacetRow, MetaRow
from db.schema.numbers import add_to_number
from db.sql.conditions import between
from db.sql.engine import REFUSALS, upsert
from db.sql.prepared import Values, savepoint, to_json, write_rows
from db.values import AppendResult, EventCursor, EventFilter, Finding, IngestedEvent, Rejected
from rules.matching.names import is_address
from rules.values.event import Event
from rules.values.observation import Kind
from rules.values.verdict import Outcome

_EVENTS = EventRow.metadata.tables[EventRow.__tablename__]
_FACETS = FacetRow.metadata.tables[FacetRow.__tablename__]
_META = MetaRow.metadata.tables[MetaRow.__tablename__]
_ASKED_AT_ONCE = 500
_IDS_A_STATEMENT = 500
_LOOKED_AT = 50
_COLUMNS = _EVENTS.columns.keys()
_INGEST_SEQ, _RECEIVED_AT, _FACET_ID = map(_COLUMNS.index, ("ingest_seq", "received_at_ns", "facet_id"))
_ENUMS = [
    *map(_COLUMNS.index, ("kind", "verdict", "state", "refusal", "role", "severity", "transport", "direction")),
]
_LISTS = [*map(_COLUMNS.index, ("reasons", "dns_answers", "alpn"))]
_columns_of = attrgetter(*(name if name in Event.__struct_fields__ else "event_id" for name in _COLUMNS))
_contributed = attrgetter(*(name for name in Contribution.__struct_fields__ if name != "facet_id"))


def append(connection: Connection, events: Sequence[Event], now_ns: int, *, is_retold: bool = False) -> AppendResult:
    """Write `events`, received at `now_ns`, and their findings, and return what became of them.

    `is_retold` as in `Store.append`. When the database refuses one, they are written one by one, so that only the
    refused are left out.
    """
    try:
        with savepoint(connection):
            return _write(connection, events, now_ns, is_retold=is_retold)
    except REFUSALS:
        return _write_each(connection, events, now_ns, is_retold=is_retold)


def make_ready(connection: Connection) -> None:
    """Make the texts of what writing a batch takes; nothing is written."""
    _write(connection, [], 0, is_retold=False)


def event(connection: Connection, event_id: str) -> Event | None:
    """Return one event, None when there is none."""
    rows = connection.execute(select(_EVENTS).where(_EVENTS.c.event_id == event_id)).mappings()
    return next(_events(rows), None)


def sensors_of(connection: Connection, event_ids: Sequence[str]) -> dict[str, str]:
    """Return whose each of these events is, of those that are known."""
    found: dict[str, str] = {}
    for at in range(0, len(event_ids), _ASKED_AT_ONCE):
        some = event_ids[at : at + _ASKED_AT_ONCE]
        rows = connection.execute(select(_EVENTS.c.event_id, _EVENTS.c.sensor_id).where(_EVENTS.c.event_id.in_(some)))
        found |= {row.event_id: row.sensor_id for row in rows}
    return found


def events_page(connection: Connection, wanted: EventFilter, limit: int, after: EventCursor | None) -> list[Event]:
    """Return up to `limit` events, newest first, below `after`."""
    if wanted.q and (found := holders(connection, wanted)) is not None:
        return _page_of(connection, found, msgspec.structs.replace(wanted, q=None), limit, after)
    if (of_network := members(connection, wanted)) is not None:
        return _page_of(connection, *of_network, limit, after)
    query = page_query(connection, wanted, limit, after)
    return list(_events(connection.execute(query).mappings()))


def _page_of(
    connection: Connection,
    holding: Sequence[ColumnElement[bool]],
    wanted: EventFilter,
    limit: int,
    after: EventCursor | None,
) -> list[Event]:
    """Return a page put together from the newest events of each of a few conditions."""
    keys: set[tuple[int, str]] = set()
    conditions = [*event_conditions(wanted), *_below(_EVENTS, after)]
    for held in holding:
        query = select(_EVENTS.c.observed_at_ns, _EVENTS.c.event_id).where(held, *conditions)
        keys.update((row[0], row[1]) for row in connection.execute(_newest(query, _EVENTS, limit)))
    ids = [event_id for _, event_id in sorted(keys, reverse=True)[:limit]]
    found: dict[str, Event] = {}
    for at in range(0, len(ids), _IDS_A_STATEMENT):
        rows = connection.execute(select(_EVENTS).where(_EVENTS.c.event_id.in_(ids[at : at + _IDS_A_STATEMENT])))
        found.update((event.event_id, event) for event in _events(rows.mappings()))
    return [found[event_id] for event_id in ids]


def events_of_finding(connection: Connection, wanted: Finding, from_ns: int, limit: int) -> list[Event]:
    """Return up to `limit` events of a finding among the `_LOOKED_AT` newest of its source, newest first.

    The event seen last is always there. Costs a walk along one index, however much else the source did.
    """
    given = {"src": wanted.src_ip, "from": from_ns, "of": wanted.service or "", "as": wanted.role.value, "most": limit}
    found = list(_events(connection.execute(_OF_FINDING, given).mappings()))
    if any(row.event_id == wanted.event_id for row in found):
        return found
    last = event(connection, wanted.event_id)
    return [last, *found[: limit - 1]] if last is not None else found


def page_query(connection: Connection, wanted: EventFilter, limit: int, after: EventCursor | None) -> Select[Any]:
    """Return the query of a page: along the index of what is asked for, or put together from the facets it takes."""
    faceted = facet_conditions(wanted)
    if not faceted or wanted.q or _has_own_index(wanted, len(faceted)) or not is_few(connection, faceted):
        conditions = [*event_conditions(wanted), *_below(_EVENTS, after)]
        return _newest(select(_EVENTS).where(*conditions), _EVENTS, limit)
    each = _EVENTS.alias("each_facet")
    window = [*_below(each, after), *between(each.c.observed_at_ns, wanted.from_ns, wanted.to_ns)]
    is_own = (each.c.facet_id == _FACETS.c.facet_id, *end_conditions(wanted, each))
    own = select(each.c.event_id).where(*is_own, *window)
    newest = _newest(own, each, limit).correlate(_FACETS)
    query = select(_EVENTS).select_from(_FACETS.join(_EVENTS, _EVENTS.c.event_id.in_(newest))).where(*faceted)
    by_time = (_EVENTS.c.observed_at_ns + 0).desc()  # not a column: else SQLite walks the events instead of the facets
    return query.order_by(by_time, _EVENTS.c.event_id.desc()).limit(limit)


def _has_own_index(wanted: EventFilter, asked: int) -> bool:
    """Tell whether the one thing that is asked for is what an index of events begins with."""
    return asked == 1 and (wanted.verdict or wanted.service) is not None and wanted.src is None and wanted.dst is None


def _below(table: FromClause, after: EventCursor | None) -> list[ColumnElement[bool]]:
    if after is None:
        return []
    return [tuple_(table.c.observed_at_ns, table.c.event_id) < tuple_(after.observed_at_ns, after.event_id)]


def _newest(query: Select[Any], table: FromClause, limit: int) -> Select[Any]:
    return query.order_by(table.c.observed_at_ns.desc(), table.c.event_id.desc()).limit(limit)


def ingested_after(connection: Connection, ingest_seq: int, limit: int, wanted: EventFilter) -> list[IngestedEvent]:
    """Return up to `limit` events committed after `ingest_seq`, oldest commit first; a new revision comes again."""
    query = select(_EVENTS).where(_EVENTS.c.ingest_seq > ingest_seq, *event_conditions(wanted))
    query = query.order_by(_EVENTS.c.ingest_seq).limit(limit)
    rows = connection.execute(query).mappings().all()
    return [IngestedEvent(row["ingest_seq"], found) for row, found in zip(rows, _events(rows), strict=True)]


def last_ingest_seq(connection: Connection) -> int:
    """Return the sequence of the newest commit, 0 when there is none; it stays when events are deleted."""
    last: int = connection.execute(select(_META.c.value).where(_META.c.name == INGEST_SEQ)).scalar_one()
    return last


def observed_addresses(connection: Connection, verdict: Outcome, from_ns: int) -> frozenset[str]:
    """Return the addresses of the other end in events of `verdict` observed since: of flows, and out of DNS answers."""
    observed = event_conditions(EventFilter(from_ns=from_ns, verdict=verdict))
    is_dns = _EVENTS.c.kind == Kind.DNS.value
    flows = connection.execute(select(_EVENTS.c.dst_ip).distinct().where(*observed, ~is_dns)).scalars()
    answers = connection.execute(select(_EVENTS.c.dns_answers).where(*observed, is_dns)).scalars()
    return frozenset(flows) | {answer for row in answers for answer in row if is_address(answer)}


def observed_names(connection: Connection, verdict: Outcome, from_ns: int, limit: int) -> frozenset[str]:
    """Return up to `limit` names of the other end in events of `verdict` observed since, those seen last."""
    name = _EVENTS.c.dst_name
    conditions = event_conditions(EventFilter(from_ns=from_ns, verdict=verdict))
    query = select(name).where(*conditions, name.is_not(None)).group_by(name)
    newest = func.max(_EVENTS.c.observed_at_ns).desc()
    return frozenset(connection.execute(query.order_by(newest).limit(limit)).scalars())


def _write(connection: Connection, events: Sequence[Event], now_ns: int, *, is_retold: bool) -> AppendResult:
    newest: dict[str, Event] = {}
    for each in events:
        held = newest.get(each.event_id)
        if held is None or each.revision > held.revision:
            newest[each.event_id] = each
    sequence = _draw_sequence(connection, len(newest)) if newest else 0
    known = contributions(connection, list(newest))
    reports = ((known.get(each.event_id), each) for each in newest.values())
    if is_retold:
        reports = ((earlier, _renumbered(each, earlier)) for earlier, each in reports)
    changes = [(earlier, each) for earlier, each in reports if earlier is None or each.revision > earlier.revision]
    facets = [Facet.of(each) for _, each in changes]
    ids = facet_ids(connection, facets)
    placed = [ids[facet] for facet in facets]
    pairs = [(earlier, _contribution(each, facet)) for (earlier, each), facet in zip(changes, placed, strict=True)]
    rows = [_row(each, sequence + at, now_ns, placed[at]) for at, (_, each) in enumerate(changes)]
    write_rows(connection, upsert(connection, _EVENTS, newer="revision", kept="received_at_ns"), rows)
    add_to_sums(connection, pairs)
    update_findings(connection, pairs)
    updated = sum(earlier is not None for earlier, _ in changes)
    return AppendResult(stored=len(changes) - updated, updated=updated, ignored=len(events) - len(changes))


def _renumbered(each: Event, held: Contribution | None) -> Event:
    """Return a report that is told again with a revision that says whether it goes beyond what is held."""
    if held is None or _progress(each) == _progress(held):
        return each
    goes_beyond = _progress(each) > _progress(held)
    return msgspec.structs.replace(each, revision=max(each.revision, held.revision + 1) if goes_beyond else 1)


def _progress(each: Event | Contribution) -> tuple[int, int, int]:
    """Return what grows with every packet of an event."""
    return each.count, each.bytes_out + each.bytes_in, each.last_seen_ns


def _write_each(connection: Connection, events: Sequence[Event], now_ns: int, *, is_retold: bool) -> AppendResult:
    stored = updated = ignored = 0
    rejected = []
    for index, each in enumerate(events):
        try:
            with savepoint(connection):
                result = _write(connection, [each], now_ns, is_retold=is_retold)
        except REFUSALS as error:
            rejected.append(Rejected(index, each.event_id, str(getattr(error, "orig", error))))
        else:
            stored, updated, ignored = stored + result.stored, updated + result.updated, ignored + result.ignored
    return AppendResult(stored, updated, ignored, tuple(rejected))


def _draw_sequence(connection: Connection, count: int) -> int:
    """Return the first of `count` sequence numbers; the counter's row stays locked, so commits keep the order."""
    return add_to_number(connection, INGEST_SEQ, count) - count + 1


def _contribution(each: Event, facet_id: int) -> Contribution:
    return Contribution(*(*_contributed(each), facet_id))


def _row(each: Event, ingest_seq: int, now_ns: int, facet_id: int) -> Values:
    """Return the values of the columns of the events table."""
    row = list(_columns_of(each))
    for place in _ENUMS:
        row[place] = row[place] and str(row[place])
    for place in _LISTS:
        row[place] = to_json(row[place])
    row[_INGEST_SEQ], row[_RECEIVED_AT], row[_FACET_ID] = ingest_seq, now_ns, facet_id
    return tuple(row)


def _events(rows: Iterable[RowMapping]) -> Iterator[Event]:
    return (msgspec.convert(dict(row), Event) for row in rows)


def _of_finding() -> Select[Any]:
    """Return the query of the newest events of a finding, put together once: it is asked hundreds of times in a row."""
    of_source = (_EVENTS.c.src_ip == bindparam("src"), _EVENTS.c.observed_at_ns >= bindparam("from"))
    seen = select(_EVENTS.c.event_id, _EVENTS.c.observed_at_ns, _EVENTS.c.facet_id).where(*of_source)
    newest = _newest(seen, _EVENTS, _LOOKED_AT).subquery("newest")
    is_own = (_FACETS.c.service == bindparam("of"), _FACETS.c.role == bindparam("as"))
    facets = select(_FACETS.c.facet_id).where(*is_own, _FACETS.c.verdict != Outcome.SANCTIONED.value)
    own = select(newest.c.event_id).where(newest.c.facet_id.in_(facets))
    own = own.order_by(newest.c.observed_at_ns.desc(), newest.c.event_id.desc()).limit(bindparam("most"))
    by_time = (_EVENTS.c.observed_at_ns + 0).desc()  # not a column: else SQLite walks the events instead of the few
    return select(_EVENTS).where(_EVENTS.c.event_id.in_(own)).order_by(by_time, _EVENTS.c.event_id.desc())


_OF_FINDING = _of_finding()
