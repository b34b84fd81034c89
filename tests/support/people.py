"""People who are signed in, without an identity provider: a session in the store and its cookie."""

from installation import SECOND_NS, Installation

from api.access.break_glass import ISSUER
from api.access.config import SessionConfig
from api.access.sessions import COOKIE, Sessions, csrf_of
from db.access.values import AccessRole, Session


def sign_in(installation: Installation, role: AccessRole, *, age_s: int = 0, acr: str = "") -> dict[str, str]:
    """Return the headers of a person of this role who signed in `age_s` ago."""
    sessions = Sessions(installation.store, lambda: installation.now_ns, SessionConfig())
    session = Session(
        digest=b"",
        session_id="",
        issuer=ISSUER,  # whose sessions keep the role that they were given
        subject=f"{role}@example.com",
        name=f"A {role}",
        role=role,
        acr=acr,
        authenticated_at_ns=installation.now_ns - age_s * SECOND_NS,
        created_at_ns=0,
        used_at_ns=0,
        expires_at_ns=0,
    )
    cookie = sessions.begin(session)
    return {"Cookie": f"{COOKIE}={cookie}", "X-CSRF-Token": csrf_of(cookie)}
