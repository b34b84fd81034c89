"""Resolutions: the last good DNS answer of each name that is watched."""

from collections.abc import Sequence

from sqlalchemy import Connection, select, update

from db.lists.values import Resolution
from db.schema.models import ResolutionRow
from db.sql.engine import CLOCK_STEP_NS, upsert

_RESOLUTIONS = ResolutionRow.metadata.tables[ResolutionRow.__tablename__]


def save_resolutions(connection: Connection, resolutions: Sequence[Resolution]) -> None:
    """Keep good answers unless later ones are there; a failure leaves the last good answer and marks it not `ok`."""
    for each in resolutions:
        row = {"name": each.name, "addresses": each.addresses, "resolved_at_ns": each.resolved_at_ns, "ok": True}
        step_ns = CLOCK_STEP_NS if each.ok else None
        if not each.ok:
            row.update(addresses=(), resolved_at_ns=0, ok=False)
            connection.execute(update(_RESOLUTIONS).where(_RESOLUTIONS.c.name == each.name).values(ok=False))
        connection.execute(upsert(connection, _RESOLUTIONS, newer="resolved_at_ns", clock_step_ns=step_ns), [row])


def resolutions(connection: Connection) -> list[Resolution]:
    """Return what is known of every name, by name."""
    rows = connection.execute(select(_RESOLUTIONS).order_by(_RESOLUTIONS.c.name))
    return [Resolution(row.name, tuple(row.addresses), row.resolved_at_ns, row.ok) for row in rows]
