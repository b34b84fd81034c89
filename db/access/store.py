"""The part of the store that says who may ask and who did: tokens, sessions, accounts, the audit log."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Engine

from db.access import audit, people, tokens
from db.access.values import Account, AuditEntry, AuditFilter, Session, Token
from db.sql.engine import reading, writing


class AccessStore:
    """Tokens, sessions, accounts and the audit log in the store's database."""

    _engine: Engine

    def add_token(self, token: Token, limit: int) -> bool:
        """Keep a new token; tell whether there was room for it among `limit`."""
        with audit.changing(self._engine, tokens.TABLE, token.token_id) as connection:
            if tokens.count(connection) >= limit:
                return False
            tokens.add(connection, token)
            return True

    def exchange_token(self, enrolment: Token, own: Token, at_ns: int, limit: int) -> bool:
        """Keep a sensor's own token in place of an enrolment token, which ends.

        Every other token of the sensor ends too where the enrolment token was made for it, and stands in the way else.
        Tell whether nothing did, the enrolment token was good, and there was room among `limit`.
        """
        sensor_id = str(own.sensor_id)
        with writing(self._engine) as connection:
            others = [other for other in tokens.good_of_sensor(connection, sensor_id) if other != enrolment.token_id]
            if (others and enrolment.sensor_id is None) or tokens.count(connection) >= limit:
                return False
            if not tokens.revoke(connection, enrolment.token_id, at_ns):
                return False
            for other in others:
                tokens.revoke(connection, other, at_ns)
            tokens.add(connection, own)
            before = {"token": " ".join(others)} if others else None
            audit.note_change(connection, sensor_id, before, {"name": own.name, "token": own.token_id})
            return True

    def tokens(self) -> list[Token]:
        """Return every token, the oldest first; revoked ones too."""
        with reading(self._engine) as connection:
            return tokens.tokens(connection)

    def rotate_token(self, token_id: str, digest: bytes) -> bool:
        """Give a token a second secret; tell whether there is such a token, not revoked, that had one."""
        with audit.changing(self._engine, tokens.TABLE, token_id) as connection:
            return tokens.rotate(connection, token_id, digest)

    def replace_newest_secret(self, token_id: str, digest: bytes) -> bool:
        """Give a token another newest secret; tell whether there is such a token, not revoked, that had two."""
        with audit.changing(self._engine, tokens.TABLE, token_id) as connection:
            return tokens.replace_newest(connection, token_id, digest)

    def drop_previous_secret(self, token_id: str) -> bool:
        """Leave a token only its newest secret; tell whether there is such a token."""
        with audit.changing(self._engine, tokens.TABLE, token_id) as connection:
            return tokens.drop_previous(connection, token_id)

    def revoke_token(self, token_id: str, at_ns: int) -> bool:
        """End a token for good; tell whether there is such a token, not revoked before."""
        with audit.changing(self._engine, tokens.TABLE, token_id) as connection:
            return tokens.revoke(connection, token_id, at_ns)

    def touch_tokens(self, used_at_ns: Mapping[str, int]) -> None:
        """Keep when each token was last used, unless a later time is there."""
        with writing(self._engine) as connection:
            tokens.touch(connection, used_at_ns)

    def token_revision(self) -> int:
        """Return a number that differs after every change of a token but its last use."""
        with reading(self._engine) as connection:
            return tokens.revision(connection)

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
            is_ended = people.revoke_session(connection, session_id, at_ns)
            if is_ended:
                audit.note_change(connection, session_id, {"state": "open"}, {"state": "revoked"})
            return is_ended

    def put_account(self, account: Account) -> None:
        """Keep an account in place of one of the same name."""
        with audit.changing(self._engine, people.ACCOUNTS, account.name) as connection:
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
        with audit.changing(self._engine, people.ACCOUNTS, name) as connection:
            return people.drop_account(connection, name)

    def add_audit(self, entry: AuditEntry) -> AuditEntry:
        """Keep an entry of the audit log and return it with its place and chain."""
        with writing(self._engine) as connection:
            return audit.add(connection, entry)

    @contextmanager
    def noting(self, target: str, before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> Iterator[None]:
        """Note a change of what is kept elsewhere, such as a file, on behalf of the act under way, unless it fails."""
        with writing(self._engine) as connection:
            audit.note_change(connection, target, before, after)
            yield

    def audit(self, wanted: AuditFilter, limit: int, before_seq: int | None = None) -> list[AuditEntry]:
        """Return up to `limit` entries of the audit log below `before_seq`, the newest first."""
        with reading(self._engine) as connection:
            return audit.entries(connection, wanted, limit, before_seq)
