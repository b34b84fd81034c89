"""Sightings: the names that agents were seen dialling, with what is known of each beside its findings."""

from sqlalchemy import Connection, Text, and_, case, cast, func, select

from db.events.filters import event_conditions
from db.schema.models import EventRow, FindingRow
from db.values import EventFilter, FindingState, NameSighting
from rules.values.observation import Evidence
from rules.values.verdict import Outcome, Role

_EVENTS = EventRow.metadata.tables[EventRow.__tablename__]
_FINDINGS = FindingRow.metadata.tables[FindingRow.__tablename__]
_TOLD = (Evidence.NS_DELEGATION, Evidence.DNS_CNAME, Evidence.JA4)


def agent_names(connection: Connection, from_ns: int, limit: int) -> list[NameSighting]:
    """Return up to `limit` names with their service that agents dialled since, not sanctioned ones; seen last first.

    Costs a walk over the events of unsanctioned and suspicious verdicts.
    """
    same_finding = and_(
        _FINDINGS.c.src_ip == _EVENTS.c.src_ip,
        _FINDINGS.c.service == _EVENTS.c.service,
        _FINDINGS.c.role == _EVENTS.c.role,
        _FINDINGS.c.state == FindingState.ACKNOWLEDGED.value,
    )
    last_seen = func.max(_EVENTS.c.last_seen_ns)
    told = [func.max(case((cast(_EVENTS.c.reasons, Text).like(f'%"{it.value}"%'), 1), else_=0)) for it in _TOLD]
    is_acknowledged = func.max(case((_FINDINGS.c.finding_id.is_not(None), 1), else_=0))
    query = (
        select(_EVENTS.c.dst_name, _EVENTS.c.service, last_seen, is_acknowledged, *told)
        .select_from(_EVENTS.outerjoin(_FINDINGS, same_finding))
        .where(
            *event_conditions(EventFilter(from_ns=from_ns, role=Role.AGENT)),
            _EVENTS.c.verdict.in_([Outcome.UNSANCTIONED.value, Outcome.SUSPICIOUS.value]),
            _EVENTS.c.dst_name.is_not(None),
            _EVENTS.c.service.is_not(None),
        )
        .group_by(_EVENTS.c.dst_name, _EVENTS.c.service)
        .order_by(last_seen.desc())
        .limit(limit)
    )
    return [
        NameSighting(
            name=name,
            service=service,
            last_seen_ns=seen_ns,
            is_acknowledged=bool(acknowledged),
            evidence=frozenset(it for it, is_told in zip(_TOLD, told_of, strict=True) if is_told),
        )
        for name, service, seen_ns, acknowledged, *told_of in connection.execute(query)
    ]
