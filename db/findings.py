"""Findings: kept up with the events in the same transaction, asked for, decided on."""

from collections.abc import Iterable, Sequence

import msgspec
from sqlalchemy import Connection, RowMapping, delete, select, tuple_

from db.engine import upsert
from db.filters import finding_conditions
from db.models import EventRow, FindingRow
from db.tally import Contribution, FindingKey, Tally
from db.values import Finding, FindingCursor, FindingFilter, FindingState

Change = tuple[Contribution | None, Contribution]

_EVENTS = EventRow.metadata.tables[EventRow.__tablename__]
_FINDINGS = FindingRow.metadata.tables[FindingRow.__tablename__]
_CONTRIBUTION_COLUMNS = [_EVENTS.c[name] for name in Contribution.__slots__]
_IDS_A_STATEMENT = 500


def contributions(connection: Connection, event_ids: Sequence[str]) -> dict[str, Contribution]:
    """Return what the stored revisions of these events contribute, by event id; unknown ids are left out."""
    found: dict[str, Contribution] = {}
    for start in range(0, len(event_ids), _IDS_A_STATEMENT):
        chunk = event_ids[start : start + _IDS_A_STATEMENT]
        query = select(*_CONTRIBUTION_COLUMNS).where(_EVENTS.c.event_id.in_(chunk))
        found.update((row.event_id, Contribution(*row)) for row in connection.execute(query))
    return found


def update_findings(connection: Connection, changes: Iterable[Change]) -> None:
    """Bring the findings up to date with events already written: pairs of the revision before, if any, and this one."""
    added: dict[FindingKey, list[Change]] = {}
    taken_back: set[FindingKey] = set()
    for earlier, new in changes:
        before, now = earlier.key if earlier else None, new.key
        if earlier and before and not new.covers(earlier):
            taken_back.add(before)
        if now:
            added.setdefault(now, []).append((earlier if before == now else None, new))
    tallies = _tallies(connection, {*added, *taken_back})
    for key in taken_back:
        _recount(connection, key, tallies)
    for key, pairs in added.items():
        if key not in taken_back:
            _add(key, pairs, tallies)
    _write(connection, list(tallies.values()))


def findings_page(
    connection: Connection, wanted: FindingFilter, limit: int, after: FindingCursor | None
) -> list[Finding]:
    """Return up to `limit` findings, the one seen last first, below `after`."""
    newest = (_FINDINGS.c.last_seen_ns, _FINDINGS.c.finding_id)
    query = select(_FINDINGS).where(*finding_conditions(wanted))
    if after is not None:
        query = query.where(tuple_(*newest) < tuple_(after.last_seen_ns, after.finding_id))
    query = query.order_by(*(column.desc() for column in newest)).limit(limit)
    return [_tally(row).to_finding() for row in connection.execute(query).mappings()]


def finding(connection: Connection, finding_id: str) -> Finding | None:
    """Return one finding, None when there is none."""
    row = connection.execute(select(_FINDINGS).where(_FINDINGS.c.finding_id == finding_id)).mappings().first()
    return _tally(row).to_finding() if row else None


def decide(connection: Connection, finding_id: str, state: FindingState, at_ns: int) -> Finding | None:
    """Set what a person decided at `at_ns` and return the finding, None when there is none."""
    row = connection.execute(select(_FINDINGS).where(_FINDINGS.c.finding_id == finding_id)).mappings().first()
    if row is None:
        return None
    tally = _tally(row)
    tally.decide(state, at_ns)
    _write(connection, [tally])
    return tally.to_finding()


def _tally(row: RowMapping) -> Tally:
    return msgspec.convert(dict(row), Tally)


def _tallies(connection: Connection, keys: Iterable[FindingKey]) -> dict[FindingKey, Tally]:
    ids = [key.finding_id for key in keys]
    found: dict[FindingKey, Tally] = {}
    for start in range(0, len(ids), _IDS_A_STATEMENT):
        query = select(_FINDINGS).where(_FINDINGS.c.finding_id.in_(ids[start : start + _IDS_A_STATEMENT]))
        for row in connection.execute(query).mappings():
            tally = _tally(row)
            found[FindingKey(tally.src_ip, tally.service, tally.role)] = tally
    return found


def _add(key: FindingKey, pairs: Sequence[Change], tallies: dict[FindingKey, Tally]) -> None:
    if pairs and key not in tallies:
        tallies[key] = Tally.begin(key, pairs[0][1])
    for earlier, new in pairs:
        tallies[key].add(new, earlier)


def _recount(connection: Connection, key: FindingKey, tallies: dict[FindingKey, Tally]) -> None:
    """Replace the tally of `key` by one counted from its events, or remove it with its row when none is left."""
    decided = tallies.pop(key, None)
    service = _EVENTS.c.service == key.service if key.service else _EVENTS.c.service.is_(None)
    query = select(*_CONTRIBUTION_COLUMNS).where(_EVENTS.c.src_ip == key.src_ip, service, _EVENTS.c.role == key.role)
    found = (Contribution(*row) for row in connection.execute(query))
    _add(key, [(None, each) for each in found if each.key], tallies)
    if key not in tallies:
        connection.execute(delete(_FINDINGS).where(_FINDINGS.c.finding_id == key.finding_id))
    elif decided is not None:
        tallies[key].decision = decided.decision
        tallies[key].decided_at_ns = decided.decided_at_ns


def _write(connection: Connection, tallies: Sequence[Tally]) -> None:
    if tallies:
        connection.execute(upsert(connection, _FINDINGS), [tally.to_row() for tally in tallies])
