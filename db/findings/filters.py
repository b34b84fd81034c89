"""Filters of findings as SQL conditions."""

from sqlalchemy import ColumnElement

from db.schema.models import FindingRow
from db.sql.conditions import between, contains, equal, of_address
from db.values import FindingFilter

_FINDINGS = FindingRow.metadata.tables[FindingRow.__tablename__].c


def finding_conditions(wanted: FindingFilter) -> list[ColumnElement[bool]]:
    """Return what a finding must fulfil, all of it."""
    found = of_address(_FINDINGS.src_ip, wanted.src) + equal(
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
        found.append(contains(wanted.q, _FINDINGS.dst_name, _FINDINGS.service, *sources))
    return found
