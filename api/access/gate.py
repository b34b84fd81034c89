"""The gate in front of feeds: who asks, and may they have this list?

Wrong secret, unknown token, wrong address, expired and revoked are one answer. It is never given because the database
is away: then there is 503, on which firewalls keep the list they have.
"""

from starlette.requests import Request

from api.access.credentials import Credentials, may_read_feed
from api.access.presented import has_credential, presented_token
from api.problems import Kind, Problem
from db.values import Token
from rules.profiles import DEFAULT_PROFILE

RETRY_AFTER_S = 30
CHALLENGE = {"WWW-Authenticate": 'Basic realm="molecatcher", charset="UTF-8", Bearer realm="molecatcher"'}


def require_feed(token: Token | None, list_name: str, profile: str) -> None:
    """Return when this list in this profile is open to the holder of a token, or to all (None).

    Raises:
        Problem: the token was made for something else.
    """
    if not is_open_to(token, list_name, profile):
        detail = "Ask for the list and profile that this token was made for, or make another token."
        raise Problem(Kind.NOT_ALLOWED, detail)


def is_open_to(token: Token | None, list_name: str, profile: str) -> bool:
    """Tell whether a list in a profile is open to the holder of a token, or to all (None)."""
    return token is None or may_read_feed(token, list_name, profile)


def profile_of(request: Request, token: Token | None, asked: str | None = None) -> str:
    """Return the profile that is asked for, else the one that the token was made for, else the default one.

    Raises:
        Problem: there is none of that name (any more).
    """
    context = request.app.state.context
    profile = asked or (token.profile if token else None) or DEFAULT_PROFILE
    known = [row.name for row, _is_in_use in context.profiles()]
    if profile not in known:
        raise Problem(Kind.NOT_FOUND, f"The profiles are {', '.join(known)}.")
    if token is None or token.profile in (None, profile):
        context.use_profile(profile)
    return str(profile)


def holder_of(request: Request, path_token: str = "") -> Token | None:
    """Return the token of a request, None where none is needed and none was given.

    Raises:
        Problem: none that is good was given, or that cannot be known now.
    """
    if not request.app.state.needs_credential and not has_credential(request.headers, path_token):
        return None
    credentials: Credentials = request.app.state.credentials
    if not credentials.is_ready:
        detail = "Keep the list you have and ask again: no token is known here. `molecatcher token create` makes one."
        raise Problem(Kind.CREDENTIALS_UNAVAILABLE, detail, {"Retry-After": str(RETRY_AFTER_S)})
    address = request.client.host if request.client else ""
    token = credentials.holder(presented_token(request.headers, path_token), address)
    if token is None:
        raise Problem(Kind.NOT_KNOWN, "Give a token of this server, from an address that it is for.", CHALLENGE)
    return token
