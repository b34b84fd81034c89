"""The numbers that the store itself needs, by name (`db.models.MetaRow`)."""

from sqlalchemy import Connection, Engine, bindparam, select, update

from db.engine import glancing
from db.models import MetaRow
from db.prepared import execute, text_of

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
    """Return a number."""
    ((value,),) = execute(connection, _ONE, (name,))
    return int(value)


def add_to_number(connection: Connection, name: str, more: int) -> int:
    """Add to a number and return what it is now; its row stays locked until the transaction ends."""
    ((value,),) = execute(connection, _ADD, (more, name))
    return int(value)
