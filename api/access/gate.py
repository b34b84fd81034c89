"""The gate in front of feeds: who asks, and may they have this list?

Wrong secret, unknown token, wrong address, expired and revoked are one answer. It is never given because the database
is away: then there is 503, on which firewalls keep the list they have.
"""

from starlette.requests import Request

from api.access.credentials import Credentials, may_read_feed
from api.access.presented import has_credential, presented_token
from api.problems import Kind, Problem
from db.values import Token

RETRY_AFTER_S = 30
CHALLENGE = {"WWW-Authenticate": 'Basic realm="molecatcher", charset="UTF-8", Bearer realm="molecatcher"'}


def require_feed(token: Token | None, list_name: str) -> None:
    """Return when this list is open to the holder of a token, or to all (None).

    Raises:
        Problem: the token was made for something else.
    """
    if not is_open_to(token, list_name):
        raise Problem(Kind.NOT_ALLOWED, "Ask for the list that this token was made for, or make another token.")


def is_open_to(token: Token | None, list_name: str) -> bool:
    """Tell whether a list is open to the holder of a token, or to all (None)."""
    return token is None or may_read_feed(token, list_name, None)


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
