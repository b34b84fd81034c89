"""People: their sessions, by the digest of their cookies, and the one account that the program itself knows."""

import msgspec
from sqlalchemy import Connection, delete, func, insert, select, update

from db.access.values import Account, Session
from db.schema.models import AccountRow, SessionRow
from db.sql.engine import upsert

_SESSIONS = SessionRow.metadata.tables[SessionRow.__tablename__]
ACCOUNTS = AccountRow.metadata.tables[AccountRow.__tablename__]


def add_session(connection: Connection, session: Session, limit: int) -> None:
    """Keep a session; those that are over go, and of more than `limit` the one that was used longest ago."""
    connection.execute(delete(_SESSIONS).where(_SESSIONS.c.expires_at_ns <= session.created_at_ns))
    count = connection.execute(select(func.count()).select_from(_SESSIONS)).scalar_one()
    if count >= limit:
        oldest = select(_SESSIONS.c.digest).order_by(_SESSIONS.c.used_at_ns).limit(count - limit + 1)
        connection.execute(delete(_SESSIONS).where(_SESSIONS.c.digest.in_(oldest)))
    row = {name: getattr(session, name) for name in session.__struct_fields__}
    plain = {"role": str(session.role), "amr": list(session.amr), "provider_groups": list(session.provider_groups)}
    connection.execute(insert(_SESSIONS).values(row | plain))


def session(connection: Connection, digest: bytes) -> Session | None:
    """Return the session with this digest, revoked or over as it may be."""
    row = connection.execute(select(_SESSIONS).where(_SESSIONS.c.digest == digest)).mappings().one_or_none()
    return msgspec.convert(dict(row), Session) if row else None


def sessions(connection: Connection, now_ns: int) -> list[Session]:
    """Return the sessions that are not over, the one used last first; revoked ones too."""
    query = select(_SESSIONS).where(_SESSIONS.c.expires_at_ns > now_ns).order_by(_SESSIONS.c.used_at_ns.desc())
    return [msgspec.convert(dict(row), Session) for row in connection.execute(query).mappings()]


def touch_session(connection: Connection, digest: bytes, used_at_ns: int) -> None:
    """Keep when a session was last used."""
    connection.execute(update(_SESSIONS).where(_SESSIONS.c.digest == digest).values(used_at_ns=used_at_ns))


def revoke_session(connection: Connection, session_id: str, at_ns: int) -> bool:
    """End a session for good; tell whether there is such a one that was not revoked before."""
    wanted = update(_SESSIONS).where(_SESSIONS.c.session_id == session_id, _SESSIONS.c.revoked_at_ns.is_(None))
    return connection.execute(wanted.values(revoked_at_ns=at_ns)).rowcount == 1


def sessions_of(connection: Connection, issuer: str, subject: str, sid: str, now_ns: int) -> list[Session]:
    """Return the sessions that are not over which a provider calls `sid` or, without that, all those of `subject`."""
    wanted = [_SESSIONS.c.issuer == issuer, _SESSIONS.c.expires_at_ns > now_ns, _SESSIONS.c.revoked_at_ns.is_(None)]
    wanted += [_SESSIONS.c.provider_sid == sid] if sid else []
    wanted += [_SESSIONS.c.subject == subject] if subject else []
    rows = connection.execute(select(_SESSIONS).where(*wanted)).mappings()
    return [msgspec.convert(dict(row), Session) for row in rows]


def put_account(connection: Connection, account: Account) -> None:
    """Keep an account in place of one of the same name."""
    row = {name: getattr(account, name) for name in account.__struct_fields__}
    connection.execute(upsert(connection, ACCOUNTS), [row])


def account(connection: Connection, name: str) -> Account | None:
    """Return an account, None when there is none of this name."""
    row = connection.execute(select(ACCOUNTS).where(ACCOUNTS.c.name == name)).mappings().one_or_none()
    return msgspec.convert(dict(row), Account) if row else None


def accounts(connection: Connection) -> list[Account]:
    """Return every account."""
    query = select(ACCOUNTS).order_by(ACCOUNTS.c.name)
    return [msgspec.convert(dict(row), Account) for row in connection.execute(query).mappings()]


def touch_account(connection: Connection, name: str, at_ns: int) -> None:
    """Keep when an account was last used."""
    connection.execute(update(ACCOUNTS).where(ACCOUNTS.c.name == name).values(used_at_ns=at_ns))


def drop_account(connection: Connection, name: str) -> bool:
    """Forget an account; tell whether there was one."""
    return connection.execute(delete(ACCOUNTS).where(ACCOUNTS.c.name == name)).rowcount == 1
