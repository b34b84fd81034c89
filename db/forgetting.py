"""Everything that one sensor reported leaves: events with their packets, sums, and findings that had no other.

For a demonstration, which nobody wants to keep. A finding that other sensors' events belong to is counted again from
those, so it loses what it had counted of events that retention removed before.
"""

from sqlalchemy import Connection, Select, delete, select

from db.events import evidence, sums
from db.findings import findings
from db.findings.tally import FindingKey
from db.schema.models import EventRow, FacetRow, FindingRow
from db.schema.sum_models import RollupRow

EVENTS_A_TRANSACTION = 500
_EVENTS = EventRow.metadata.tables[EventRow.__tablename__]
_FACETS = FacetRow.metadata.tables[FacetRow.__tablename__]
_FINDINGS = FindingRow.metadata.tables[FindingRow.__tablename__]
_ROLLUPS = RollupRow.metadata.tables[RollupRow.__tablename__]


def is_known(connection: Connection, sensor_id: str) -> bool:
    """Tell whether anything that the sensor reported is there."""
    known = select(_FACETS.c.facet_id).where(_FACETS.c.sensor_id == sensor_id).limit(1)
    return connection.execute(known).first() is not None


def forget_events(connection: Connection, sensor_id: str) -> int:
    """Remove up to `EVENTS_A_TRANSACTION` events of the sensor with their packets, and return how many there were."""
    query = select(_EVENTS.c.event_id).where(_EVENTS.c.facet_id.in_(_facets(sensor_id))).limit(EVENTS_A_TRANSACTION)
    ids = list(connection.execute(query).scalars())
    gone = findings.contributions(connection, ids).values()
    evidence.remove(connection, ids)
    connection.execute(delete(_EVENTS).where(_EVENTS.c.event_id.in_(ids)))
    times_ns: dict[FindingKey, set[int]] = {}
    for each in gone:
        key = FindingKey(each.src_ip, each.service or "", each.role)
        times_ns.setdefault(key, set()).add(each.observed_at_ns)
    findings.recount(connection, times_ns)
    sums.take_from_days(connection, gone)
    sums.recount_sources(connection, {(each.service or "", each.src_ip) for each in gone})
    return len(ids)


def forget_sums(connection: Connection, sensor_id: str) -> None:
    """Remove the hourly sums of the sensor, once its events are gone, and findings that outlived their events."""
    columns = (_FINDINGS.c.src_ip, _FINDINGS.c.service, _FINDINGS.c.role)
    left = connection.execute(select(*columns).where(_FINDINGS.c.sensor_id == sensor_id)).all()
    findings.recount(connection, dict.fromkeys(FindingKey(row.src_ip, row.service or "", row.role) for row in left))
    connection.execute(delete(_ROLLUPS).where(_ROLLUPS.c.facet_id.in_(_facets(sensor_id))))
    connection.execute(delete(_FACETS).where(_FACETS.c.sensor_id == sensor_id))


def _facets(sensor_id: str) -> Select[tuple[int]]:
    return select(_FACETS.c.facet_id).where(_FACETS.c.sensor_id == sensor_id)
