"""The part of the store that says who may ask and who did: sessions, accounts, the audit log."""

from sqlalchemy import Engine

from db import audit, people
from db.access_values import Account, AuditEntry, AuditFilter, Session
from db.engine import reading, writing


class AccessStore:
    """Sessions, accounts and the audit log in the store's database."""

    _engine: Engine

    def add_session(self, session: Session, limit: int) -> None:
        """Keep a session; of more than `limit` the one that was used longest ago goes."""
        with writing(self._engine) as connection:
            people.add_session(connection, session, limit)

    def session(self, digest: bytes) -> Session | None:
        """Return the session with this digest, revoked or over as it may be."""
        with reading(self._engine) as connection:
            return people.session(connection, digest)

    def sessions(self, now_ns: int) -> list[Session]:
        """Return the sessions that are not over, the one used last first; revoked ones too."""
        with reading(self._engine) as connection:
            return people.sessions(connection, now_ns)

    def sessions_of(self, issuer: str, subject: str, sid: str, now_ns: int) -> list[Session]:
        """Return the sessions that are not over which a provider calls `sid` or, without that, all of `subject`."""
        with reading(self._engine) as connection:
            return people.sessions_of(connection, issuer, subject, sid, now_ns)

    def touch_session(self, digest: bytes, used_at_ns: int) -> None:
        """Keep when a session was last used."""
        with writing(self._engine) as connection:
            people.touch_session(connection, digest, used_at_ns)

    def revoke_session(self, session_id: str, at_ns: int) -> bool:
        """End a session for good; tell whether there is such a one that was not revoked before."""
        with writing(self._engine) as connection:
            return people.revoke_session(connection, session_id, at_ns)

    def put_account(self, account: Account) -> None:
        """Keep an account in place of one of the same name."""
        with writing(self._engine) as connection:
            people.put_account(connection, account)

    def account(self, name: str) -> Account | None:
        """Return an account, None when there is none of this name."""
        with reading(self._engine) as connection:
            return people.account(connection, name)

    def accounts(self) -> list[Account]:
        """Return every account."""
        with reading(self._engine) as connection:
            return people.accounts(connection)

    def touch_account(self, name: str, at_ns: int) -> None:
        """Keep when an account was last used."""
        with writing(self._engine) as connection:
            people.touch_account(connection, name, at_ns)

    def drop_account(self, name: str) -> bool:
        """Forget an account; tell whether there was one."""
        with writing(self._engine) as connection:
            return people.drop_account(connection, name)

    def add_audit(self, entry: AuditEntry) -> AuditEntry:
        """Keep an entry of the audit log and return it with its place and chain."""
        with writing(self._engine) as connection:
            return audit.add(connection, entry)

    def audit(self, wanted: AuditFilter, limit: int, before_seq: int | None = None) -> list[AuditEntry]:
        """Return up to `limit` entries of the audit log below `before_seq`, the newest first."""
        with reading(self._engine) as connection:
            return audit.entries(connection, wanted, limit, before_seq)
