"""Tokens: what machines that pull lists or send events identify themselves with. Only digests of secrets are stored.

`TOKEN_REVISION` goes up with every change but the time of last use, so that readers see cheaply that theirs are old.
"""

from collections.abc import Mapping

from sqlalchemy import BigInteger, Connection, Update, bindparam, func, insert, select, update

from db.access.values import Token, TokenScope
from db.schema.models import TOKEN_REVISION, MetaRow, TokenRow

TABLE = TokenRow.metadata.tables[TokenRow.__tablename__]
_COLUMNS = tuple(column.name for column in TABLE.columns)


def add(connection: Connection, token: Token) -> None:
    """Keep a new token."""
    connection.execute(insert(TABLE).values({name: getattr(token, name) for name in _COLUMNS}))
    _count_change(connection)


def count(connection: Connection) -> int:
    """Return how many tokens there are, revoked ones too."""
    return int(connection.execute(select(func.count()).select_from(TABLE)).scalar_one())


def tokens(connection: Connection) -> list[Token]:
    """Return every token, the oldest first."""
    rows = connection.execute(select(TABLE).order_by(TABLE.c.created_at_ns, TABLE.c.token_id))
    return [_token(row._asdict()) for row in rows]


def good_of_sensor(connection: Connection, sensor_id: str) -> list[str]:
    """Return the ids of the tokens that are bound to a sensor and not revoked."""
    wanted = select(TABLE.c.token_id).where(TABLE.c.sensor_id == sensor_id, TABLE.c.revoked_at_ns.is_(None))
    return list(connection.execute(wanted).scalars())


def rotate(connection: Connection, token_id: str, digest: bytes) -> bool:
    """Give a token a second secret; tell whether there is such a token, not revoked, that had one."""
    has_one = TABLE.c.revoked_at_ns.is_(None) & TABLE.c.previous_digest.is_(None)
    changed = update(TABLE).where(TABLE.c.token_id == token_id, has_one)
    return _change(connection, changed.values(previous_digest=TABLE.c.digest, digest=digest))


def replace_newest(connection: Connection, token_id: str, digest: bytes) -> bool:
    """Give a token another newest secret; tell whether there is such a token, not revoked, that had two."""
    has_two = TABLE.c.revoked_at_ns.is_(None) & TABLE.c.previous_digest.is_not(None)
    return _change(connection, update(TABLE).where(TABLE.c.token_id == token_id, has_two).values(digest=digest))


def drop_previous(connection: Connection, token_id: str) -> bool:
    """Leave a token only its newest secret; tell whether there is such a token."""
    return _change(connection, update(TABLE).where(TABLE.c.token_id == token_id).values(previous_digest=None))


def revoke(connection: Connection, token_id: str, at_ns: int) -> bool:
    """End a token for good; tell whether there is such a token, not revoked before."""
    wanted = update(TABLE).where(TABLE.c.token_id == token_id, TABLE.c.revoked_at_ns.is_(None))
    return _change(connection, wanted.values(revoked_at_ns=at_ns))


def touch(connection: Connection, used_at_ns: Mapping[str, int]) -> None:
    """Keep when each token was last used, unless a later time is there."""
    is_it, at_ns = TABLE.c.token_id == bindparam("used_id"), bindparam("at_ns", type_=BigInteger)
    is_older = func.coalesce(TABLE.c.last_used_ns, 0) < at_ns
    rows = [{"used_id": token_id, "at_ns": used_ns} for token_id, used_ns in used_at_ns.items()]
    connection.execute(update(TABLE).where(is_it, is_older).values(last_used_ns=at_ns), rows)


def revision(connection: Connection) -> int:
    """Return a number that differs after every change."""
    return int(connection.execute(select(MetaRow.value).where(MetaRow.name == TOKEN_REVISION)).scalar_one())


def _change(connection: Connection, statement: Update) -> bool:
    is_changed = connection.execute(statement).rowcount == 1
    if is_changed:
        _count_change(connection)
    return is_changed


def _count_change(connection: Connection) -> None:
    connection.execute(update(MetaRow).where(MetaRow.name == TOKEN_REVISION).values(value=MetaRow.value + 1))


def _token(row: dict[str, object]) -> Token:
    texts: dict[str, object] = {name: tuple(row[name]) for name in ("allowed", "denied")}  # type: ignore[arg-type]
    scopes = tuple(map(TokenScope, row["scopes"]))  # type: ignore[call-overload]
    return Token(**(row | texts | {"scopes": scopes}))  # type: ignore[arg-type]  # columns have the fields' names
