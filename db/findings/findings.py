"""Findings: kept up with the events in the same transaction, asked for, decided on."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from operator import itemgetter

import msgspec
from sqlalchemy import Connection, delete, func, or_, select, tuple_

from db.access.audit import note_change
from db.errors import HistoryFull
from db.findings import history, parts
from db.findings.filters import finding_conditions
from db.findings.tally import Change, Contribution, FindingKey, Tally
from db.schema.models import EventRow, FindingRow
from db.sql.conditions import between
from db.sql.engine import upsert
from db.sql.prepared import Lookup, write_rows
from db.values import EntryKind, Finding, FindingChange, FindingCursor, FindingFilter, FindingState, HistoryEntry
from rules.values.event import uuid7

_EVENTS = EventRow.metadata.tables[EventRow.__tablename__]
_FINDINGS = FindingRow.metadata.tables[FindingRow.__tablename__]
_CONTRIBUTION_COLUMNS = [_EVENTS.c[name] for name in Contribution.__struct_fields__]
_COLUMNS = _FINDINGS.columns.keys()
_in_order = itemgetter(*_COLUMNS)
_CONTRIBUTIONS = Lookup(_CONTRIBUTION_COLUMNS, _EVENTS.c.event_id)
_TALLIES = Lookup([*_FINDINGS.columns], _FINDINGS.c.finding_id)


def contributions(connection: Connection, event_ids: Sequence[str]) -> dict[str, Contribution]:
    """Return what the stored revisions of these events contribute, by event id; unknown ids are left out."""
    rows = _CONTRIBUTIONS.find(connection, [(event_id,) for event_id in event_ids])
    return {found.event_id: found for found in (Contribution(*row) for row in rows)}


def update_findings(connection: Connection, changes: Iterable[Change]) -> None:
    """Bring the findings up to date with events already written: pairs of the revision before, if any, and this one."""
    added: dict[FindingKey, list[Change]] = {}
    taken_back: dict[FindingKey, set[int]] = {}
    for earlier, new in changes:
        before, now = earlier.key if earlier else None, new.key
        if earlier and before and not new.covers(earlier):
            taken_back.setdefault(before, set()).add(earlier.observed_at_ns)
        if now:
            added.setdefault(now, []).append((earlier if before == now else None, new))
    tallies = _tallies(connection, {*added, *taken_back})
    states = {tally.finding_id: tally.state for tally in tallies.values()}
    for key, times_ns in taken_back.items():
        _recount(connection, key, times_ns.union(new.observed_at_ns for _, new in added.pop(key, ())), tallies)
    for key, pairs in added.items():
        _add(key, pairs, tallies)
    parts.add(connection, {key: pairs for key, pairs in added.items() if tallies[key].divided})
    _write(connection, tallies)
    _note_states(connection, tallies.values(), states)


def recount(connection: Connection, gone: Mapping[FindingKey, Collection[int] | None]) -> None:
    """Count these findings again from the events that are there; without any, a finding leaves with its history.

    `gone` says of each when the events were observed that are gone; None: of no matter which time.
    """
    tallies = _tallies(connection, gone)
    for key, times_ns in gone.items():
        _recount(connection, key, times_ns, tallies)
    _write(connection, tallies)
    history.remove(connection, [key.finding_id for key in gone if key not in tallies])


def findings_page(
    connection: Connection, wanted: FindingFilter, limit: int, after: FindingCursor | None
) -> list[Finding]:
    """Return up to `limit` findings, the one seen last first, below `after`."""
    newest = (_FINDINGS.c.last_seen_ns, _FINDINGS.c.finding_id)
    query = select(_FINDINGS).where(*finding_conditions(wanted))
    if after is not None:
        query = query.where(tuple_(*newest) < tuple_(after.last_seen_ns, after.finding_id))
    query = query.order_by(*(column.desc() for column in newest)).limit(limit)
    return [_tally(dict(row)).to_finding() for row in connection.execute(query).mappings()]


def finding(connection: Connection, finding_id: str) -> Finding | None:
    """Return one finding, None when there is none."""
    row = connection.execute(select(_FINDINGS).where(_FINDINGS.c.finding_id == finding_id)).mappings().first()
    return _tally(dict(row)).to_finding() if row else None


def change(connection: Connection, finding_id: str, wanted: FindingChange, actor: str, at_ns: int) -> Finding | None:
    """Do to a finding what a person wants, note it in its history, and return it; None when there is none.

    Raises:
        HistoryFull: it has as many comments as there is room for.
    """
    tally = _tally_of(connection, finding_id)
    if tally is None:
        return None
    entries, before = [], _decided(tally)
    if wanted.state is not msgspec.UNSET:
        was = tally.state
        tally.decide(wanted.state, at_ns)
        entries.append(_entry(finding_id, at_ns, actor, EntryKind.STATE, before=was, after=tally.state))
    if wanted.assignee is not msgspec.UNSET and wanted.assignee != tally.assignee:
        entries.append(
            _entry(finding_id, at_ns, actor, EntryKind.ASSIGNEE, before=tally.assignee, after=wanted.assignee)
        )
        tally.assignee = wanted.assignee
    if wanted.comment:
        if history.count_comments(connection, finding_id) >= history.MAX_COMMENTS:
            raise HistoryFull(f"A finding holds {history.MAX_COMMENTS} comments: write this one elsewhere.")
        entries.append(_entry(finding_id, at_ns, actor, EntryKind.COMMENT, text=wanted.comment))
    _write_rows(connection, [tally])
    history.add(connection, entries)
    if entries:
        note_change(
            connection, finding_id, before, _decided(tally) | ({"comment": wanted.comment} if wanted.comment else {})
        )
    return tally.to_finding()


def count_open(connection: Connection, limit: int) -> dict[str, int]:
    """Return how many open findings there are by how their tunnel did, of the `limit` seen last."""
    columns = _FINDINGS.c
    newest = select(columns.tunnel_state).where(columns.state == FindingState.OPEN.value)
    newest = newest.order_by(columns.last_seen_ns.desc(), columns.finding_id.desc()).limit(limit)
    found = newest.subquery()
    query = select(found.c.tunnel_state, func.count()).group_by(found.c.tunnel_state)
    return {row[0]: row[1] for row in connection.execute(query)}


def busiest_sources(connection: Connection, since_ns: int, limit: int) -> dict[str, dict[str, int]]:
    """Return the `limit` sources with most open findings seen since, each with how many by how their tunnel did."""
    columns = _FINDINGS.c
    is_open = (columns.state == FindingState.OPEN.value, columns.last_seen_ns >= since_ns)
    most = select(columns.src_ip).where(*is_open).group_by(columns.src_ip)
    most = most.order_by(func.count().desc(), func.max(columns.last_seen_ns).desc()).limit(limit)
    query = select(columns.src_ip, columns.tunnel_state, func.count()).where(*is_open, columns.src_ip.in_(most))
    found: dict[str, dict[str, int]] = {}
    for source, state, count in connection.execute(query.group_by(columns.src_ip, columns.tunnel_state)):
        found.setdefault(source, {})[state] = count
    return found


def _decided(tally: Tally) -> dict[str, str | None]:
    """Return what people say of a finding."""
    return {"state": tally.state.value, "assignee": tally.assignee}


def set_exceptions(connection: Connection, wanted: Mapping[str, str | None], at_ns: int) -> int:
    """Let the exceptions hold that are named for each finding (None: none any more); return how many states changed."""
    tallies = {tally.finding_id: tally for tally in _tallies_of(connection, list(wanted))}
    before = {finding_id: tally.state for finding_id, tally in tallies.items()}
    for finding_id, tally in tallies.items():
        tally.exception_id = wanted[finding_id]
    _write_rows(connection, list(tallies.values()))
    return _note_states(connection, tallies.values(), before, at_ns)


def exceptions_in_use(connection: Connection) -> dict[str, str]:
    """Return the ids of findings that an exception holds for, with that exception's id."""
    query = select(_FINDINGS.c.finding_id, _FINDINGS.c.exception_id).where(_FINDINGS.c.exception_id.is_not(None))
    return {row.finding_id: row.exception_id for row in connection.execute(query)}


def unexcepted(
    connection: Connection, services: Collection[str], categories: Collection[str], after: str, limit: int
) -> list[tuple[str, str]]:
    """Return up to `limit` findings without an exception, by id above `after`, with the event seen last.

    They are of these services, or that event is of one of these categories. Those whose event is gone are left out.
    """
    of_service = _FINDINGS.c.service.in_(services)
    of_category = _EVENTS.c.service_category.in_(categories)
    query = select(_FINDINGS.c.finding_id, _EVENTS.c.event_id).join(_EVENTS, _EVENTS.c.event_id == _FINDINGS.c.event_id)
    query = query.where(
        _FINDINGS.c.exception_id.is_(None),
        or_(of_service, of_category) if categories else of_service,
        _FINDINGS.c.finding_id > after,
    )
    return [(row[0], row[1]) for row in connection.execute(query.order_by(_FINDINGS.c.finding_id).limit(limit))]


def _tally(row: Mapping[str, object]) -> Tally:
    return msgspec.convert(row, Tally)


def _tallies(connection: Connection, keys: Iterable[FindingKey]) -> dict[FindingKey, Tally]:
    found = _tallies_of(connection, [key.finding_id for key in keys])
    return {FindingKey(tally.src_ip, tally.service, tally.role): tally for tally in found}


def _tallies_of(connection: Connection, ids: Sequence[str]) -> list[Tally]:
    rows = _TALLIES.find(connection, [(finding_id,) for finding_id in ids])
    return [_tally(dict(zip(_COLUMNS, row, strict=True))) for row in rows]


def _tally_of(connection: Connection, finding_id: str) -> Tally | None:
    return next(iter(_tallies_of(connection, [finding_id])), None)


def _add(key: FindingKey, pairs: Sequence[Change], tallies: dict[FindingKey, Tally]) -> None:
    if pairs and key not in tallies:
        tallies[key] = Tally.begin(key, pairs[0][1])
    for earlier, new in pairs:
        tallies[key].add(new, earlier)


def _recount(
    connection: Connection,
    key: FindingKey,
    times_ns: Collection[int] | None,
    tallies: dict[FindingKey, Tally],
) -> None:
    """Replace the tally of `key` by one counted again, or remove it with its row when no event is left.

    `times_ns` is when the events were observed that changed (None: any); only there are events of a large one read.
    """
    held = tallies.pop(key, None)
    is_divided = held is not None and held.divided
    events_between = partial(_events_of, connection, key)
    counted = parts.recount(connection, key, times_ns, events_between) if is_divided and times_ns is not None else None
    if counted is not None and counted.events > parts.LARGE:
        counted.divided = 1
    else:
        if is_divided:
            parts.remove(connection, [key.finding_id])
        counted = Tally.of(key, events_between())
    if counted is None:
        connection.execute(delete(_FINDINGS).where(_FINDINGS.c.finding_id == key.finding_id))
    else:
        tallies[key] = counted
        if held is not None:
            counted.keep_decisions(held)


def _events_of(
    connection: Connection, key: FindingKey, from_ns: int | None = None, to_ns: int | None = None
) -> Iterator[Contribution]:
    """Yield what the events of a finding contribute, of those observed in the window."""
    service = _EVENTS.c.service == key.service if key.service else _EVENTS.c.service.is_(None)
    is_own = (_EVENTS.c.src_ip == key.src_ip, service, _EVENTS.c.role == key.role)
    query = select(*_CONTRIBUTION_COLUMNS).where(*is_own, *between(_EVENTS.c.observed_at_ns, from_ns, to_ns))
    found = (Contribution(*row) for row in connection.execute(query))
    return (each for each in found if each.key)


def _write(connection: Connection, tallies: Mapping[FindingKey, Tally]) -> None:
    """Write findings that were counted, and divide those that have become large."""
    for key, tally in tallies.items():
        if tally.events > parts.LARGE and not tally.divided:
            parts.divide(connection, key, _events_of(connection, key))
            tally.divided = 1
    _write_rows(connection, list(tallies.values()))


def _write_rows(connection: Connection, tallies: Sequence[Tally]) -> None:
    write_rows(connection, upsert(connection, _FINDINGS), [_in_order(tally.to_row()) for tally in tallies])


def _note_states(
    connection: Connection, tallies: Iterable[Tally], before: Mapping[str, FindingState], at_ns: int | None = None
) -> int:
    """Keep in the history which findings' states changed without a person, and return how many did."""
    changed = [tally for tally in tallies if before.get(tally.finding_id, tally.state) is not tally.state]
    entries = [
        _entry(
            tally.finding_id,
            tally.last_seen_ns if at_ns is None else at_ns,
            "",
            EntryKind.STATE,
            before=before[tally.finding_id],
            after=tally.state,
            text=tally.exception_id or "",
        )
        for tally in changed
    ]
    history.add(connection, entries)
    return len(changed)


def _entry(
    finding_id: str,
    at_ns: int,
    actor: str,
    kind: EntryKind,
    *,
    before: str | None = None,
    after: str | None = None,
    text: str = "",
) -> HistoryEntry:
    return HistoryEntry(
        entry_id=uuid7(at_ns),
        finding_id=finding_id,
        at_ns=at_ns,
        actor=actor,
        kind=kind,
        before=None if before is None else str(before),
        after=None if after is None else str(after),
        text=text,
    )
