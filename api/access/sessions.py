"""Sessions of people: made at sign-in, found by the cookie, over when idle, old or revoked.

The cookie holds 256 random bits; the database only their SHA-256.
"""

import hashlib
import hmac
import secrets
from collections.abc import Callable

import msgspec
from starlette.responses import Response

from api.access.audit import access_file_entry, log_changes
from api.access.config import SessionConfig
from api.times import NS_PER_S
from db.access.audit import Act
from db.access.values import Session
from db.store import Store

COOKIE = "__Host-molecatcher"
MAX_SESSIONS = 10_000
MAX_COOKIE = 128
TOUCH_NS = 60 * NS_PER_S  # how exactly the time of last use is kept


class Sessions:
    """The sessions in the store. Each request reads one row by its key; nothing is kept in memory."""

    def __init__(self, store: Store, now_ns: Callable[[], int], config: SessionConfig) -> None:
        self._store = store
        self.now_ns = now_ns
        self.config = config

    def begin(self, session: Session) -> str:
        """Keep a session for whom `session` describes, and return what its cookie holds."""
        cookie, now_ns = secrets.token_urlsafe(32), self.now_ns()
        kept = msgspec.structs.replace(
            session,
            digest=digest_of(cookie),
            session_id=secrets.token_hex(8),
            created_at_ns=now_ns,
            used_at_ns=now_ns,
            expires_at_ns=now_ns + self.config.absolute_s * NS_PER_S,
        )
        self._store.add_session(kept, MAX_SESSIONS)
        return cookie

    def find(self, cookie: str) -> Session | None:
        """Return the session of a cookie, None when it is over or there never was one."""
        session, now_ns = self._store.session(digest_of(cookie[:MAX_COOKIE])), self.now_ns()
        if session is None or session.revoked_at_ns is not None or now_ns >= session.expires_at_ns:
            return None
        idle_ns = now_ns - session.used_at_ns
        if idle_ns >= self.config.idle_s * NS_PER_S:
            return None
        if idle_ns >= TOUCH_NS:
            self._store.touch_session(session.digest, now_ns)
        return session

    def open(self) -> list[Session]:
        """Return the sessions that are not over."""
        return [it for it in self._store.sessions(self.now_ns()) if it.revoked_at_ns is None]

    def end(self, session: Session) -> None:
        """End a session for good."""
        self._store.revoke_session(session.session_id, self.now_ns())

    def end_without_role(self, session: Session) -> None:
        """End a session to which the access file gives no role any more; noted as what that file did."""
        now_ns = self.now_ns()
        act = Act(access_file_entry(now_ns, "session.end", session.session_id))
        self._store.on_behalf_of(act).revoke_session(session.session_id, now_ns)
        log_changes(act)


def digest_of(cookie: str) -> bytes:
    """Return what is stored of a cookie."""
    return hashlib.sha256(cookie.encode("utf-8", "replace")).digest()


def csrf_of(cookie: str) -> str:
    """Return the word that every change of this session has to carry; it follows from the cookie, not back to it."""
    return hmac.digest(cookie.encode("utf-8", "replace"), b"csrf", hashlib.sha256).hex()


def set_cookie(response: Response, cookie: str) -> None:
    """Give the browser its cookie: for this host, over TLS (or to loopback), not for scripts."""
    response.set_cookie(COOKIE, cookie, path="/", secure=True, httponly=True, samesite="lax")


def clear_cookie(response: Response) -> None:
    """Take the cookie back."""
    response.delete_cookie(COOKIE, path="/", secure=True, httponly=True, samesite="lax")
