"""The numbers that the store itself needs, by name (`db.models.MetaRow`)."""

from sqlalchemy import Connection, bindparam, select, update

from db.models import MetaRow
from db.prepared import execute

_META = MetaRow.metadata.tables[MetaRow.__tablename__]
_ADD = (
    update(_META)
    .values(value=_META.c.value + bindparam("more"))
    .where(_META.c.name == bindparam("wanted"))
    .returning(_META.c.value)
)


def number(connection: Connection, name: str) -> int:
    """Return a number."""
    value: int = connection.execute(select(_META.c.value).where(_META.c.name == name)).scalar_one()
    return value


def add_to_number(connection: Connection, name: str, more: int) -> int:
    """Add to a number and return what it is now; its row stays locked until the transaction ends."""
    ((value,),) = execute(connection, _ADD, (more, name))
    return int(value)
