"""The numbers that the store itself needs, by name (`db.schema.models.MetaRow`)."""

from sqlalchemy import Connection, Engine, bindparam, select, update

from db.schema.models import MetaRow
from db.sql.engine import glancing, raise_to
from db.sql.prepared import execute, text_of, write_rows

_META = MetaRow.metadata.tables[MetaRow.__tablename__]
_ADD = (
    update(_META)
    .values(value=_META.c.value + bindparam("more"))
    .where(_META.c.name == bindparam("wanted"))
    .returning(_META.c.value)
)


_ONE = select(_META.c.value).where(_META.c.name == bindparam("wanted"))


def glance_at_number(engine: Engine, name: str) -> int:
    """Return a number as it stands now, outside of any transaction."""
    with glancing(engine) as cursor:
        cursor.execute(text_of(engine.dialect.name, _ONE), (name,))
        ((value,),) = cursor.fetchall()
    return int(value)


def number(connection: Connection, name: str) -> int:
    """Return a number, 0 where there is none."""
    rows = execute(connection, _ONE, (name,))
    return int(rows[0][0]) if rows else 0


def add_to_number(connection: Connection, name: str, more: int) -> int:
    """Add to a number and return what it is now; its row stays locked until the transaction ends."""
    ((value,),) = execute(connection, _ADD, (more, name))
    return int(value)


def raise_number(connection: Connection, name: str, value: int) -> None:
    """Raise a number to `value` where it is less, or missing."""
    write_rows(connection, raise_to(connection, _META), [(name, value)])
