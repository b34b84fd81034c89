"""Filters as SQL conditions."""

import ipaddress
from collections.abc import Mapping

from sqlalchemy import ColumnElement, FromClause, or_

from db.models import EventRow, FindingRow
from db.networks import in_network, network_of
from db.values import EventFilter, FindingFilter
from rules.names import fold, is_address
from rules.observation import STATES, Action

_EVENTS = EventRow.metadata.tables[EventRow.__tablename__].c
_FINDINGS = FindingRow.metadata.tables[FindingRow.__tablename__].c


def event_conditions(wanted: EventFilter) -> list[ColumnElement[bool]]:
    """Return what an event must fulfil, all of it."""
    found = end_conditions(wanted) + _equal(
        {
            _EVENTS.verdict: wanted.verdict,
            _EVENTS.role: wanted.role,
            _EVENTS.severity: wanted.severity,
            _EVENTS.state: wanted.state,
            _EVENTS.sensor_id: wanted.sensor,
        }
    )
    found += between(_EVENTS.observed_at_ns, wanted.from_ns, wanted.to_ns)
    if wanted.action is not None:
        found += _equal({_EVENTS.state: STATES[wanted.action]})
    if wanted.action in {Action.BLOCKED, Action.REJECTED}:
        is_refused = _EVENTS.refusal.is_not(None)
        found.append(is_refused if wanted.action is Action.REJECTED else ~is_refused)
    if wanted.service is not None:
        found.append(_EVENTS.service == wanted.service if wanted.service else _EVENTS.service.is_(None))
    if wanted.q:
        sources = (_EVENTS.src_ip,) if wanted.q_finds_sources else ()
        found.append(_contains(wanted.q, _EVENTS.dst_name, _EVENTS.service, *sources))
    return found


def end_conditions(wanted: EventFilter, table: FromClause = EventRow.__table__) -> list[ColumnElement[bool]]:
    """Return what the two ends of an event of `table` must fulfil."""
    found = _of_address(table.c.src_ip, wanted.src)
    if wanted.dst is not None and not is_address(wanted.dst) and network_of(wanted.dst) is None:
        return [*found, table.c.dst_name == fold(wanted.dst)]
    return found + _of_address(table.c.dst_ip, wanted.dst)


def finding_conditions(wanted: FindingFilter) -> list[ColumnElement[bool]]:
    """Return what a finding must fulfil, all of it."""
    found = _of_address(_FINDINGS.src_ip, wanted.src) + _equal(
        {
            _FINDINGS.service: wanted.service,
            _FINDINGS.verdict: wanted.verdict,
            _FINDINGS.role: wanted.role,
            _FINDINGS.severity: wanted.severity,
            _FINDINGS.state: wanted.state,
            _FINDINGS.tunnel_state: wanted.tunnel_state,
            _FINDINGS.sensor_id: wanted.sensor,
        }
    )
    if wanted.assignee is not None:
        found.append(_FINDINGS.assignee == wanted.assignee if wanted.assignee else _FINDINGS.assignee.is_(None))
    found += between(_FINDINGS.last_seen_ns, wanted.from_ns, wanted.to_ns)
    if wanted.q:
        sources = (_FINDINGS.src_ip,) if wanted.q_finds_sources else ()
        found.append(_contains(wanted.q, _FINDINGS.dst_name, _FINDINGS.service, *sources))
    return found


def _of_address(column: ColumnElement[str], text: str | None) -> list[ColumnElement[bool]]:
    network = network_of(text)
    return [in_network(column, network)] if network else _equal({column: _address(text)})


def _equal(wanted: Mapping[ColumnElement[str], str | None]) -> list[ColumnElement[bool]]:
    return [column == str(value) for column, value in wanted.items() if value is not None]


def between(column: ColumnElement[int], from_ns: int | None, to_ns: int | None) -> list[ColumnElement[bool]]:
    """Return that a time lies in a window; its end does not belong to it."""
    found = []
    if from_ns is not None:
        found.append(column >= from_ns)
    if to_ns is not None:
        found.append(column < to_ns)
    return found


def _contains(text: str, *columns: ColumnElement[str]) -> ColumnElement[bool]:
    return or_(*(column.icontains(text, autoescape=True) for column in columns))


def _address(text: str | None) -> str | None:
    """Return an address in the form that is stored (RFC 5952), other text as it is."""
    return str(ipaddress.ip_address(text.strip("[]"))) if text and is_address(text) else text
