"""Sensors: the newest heartbeat of each."""

import msgspec
from sqlalchemy import Connection, select

from db.schema.models import SensorRow
from db.sql.engine import CLOCK_STEP_NS, upsert
from db.sql.prepared import to_json, write_rows
from rules.values.sensor_status import SensorStatus

_SENSORS = SensorRow.metadata.tables[SensorRow.__tablename__]


def save_heartbeat(connection: Connection, status: SensorStatus) -> None:
    """Keep `status` unless a heartbeat of the sensor that is up to a minute later is there."""
    row = (
        *(status.sensor_id, status.hostname, status.version, status.started_at_ns, status.heartbeat_ns),
        to_json(status),
    )
    write_rows(connection, upsert(connection, _SENSORS, newer="heartbeat_ns", clock_step_ns=CLOCK_STEP_NS), [row])


def sensors(connection: Connection) -> list[SensorStatus]:
    """Return every sensor's newest heartbeat, by sensor id."""
    rows = connection.execute(select(_SENSORS.c.status).order_by(_SENSORS.c.sensor_id)).scalars()
    return [msgspec.convert(status, SensorStatus) for status in rows]
