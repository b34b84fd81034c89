"""Logout tokens: by them a provider says that a person's session with it is over.

OpenID Connect Back-Channel Logout 1.0, sections 2.4 and 2.6.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeyFlexible

from api.errors import RefusedLogout

EVENT = "http://schemas.openid.net/event/backchannel-logout"
TYPES = (None, "JWT", "logout+jwt")
MAX_TOKEN = 16_384
MAX_TEXT = 256
MAX_AGE_S = 600
LEEWAY_S = 60


class LogoutToken(msgspec.Struct, frozen=True):
    """Whose sessions are over: those of `subject`, or the one that the provider calls `sid` (each "": not said)."""

    token_id: str
    subject: str
    sid: str


def read_logout_token(
    text: str, keys: KeyFlexible, algorithms: Sequence[str], *, issuer: str, client_id: str, now_s: int
) -> LogoutToken:
    """Return what a logout token says.

    Raises:
        RefusedLogout: it is not one of this provider for us, of now.
    """
    expected: dict[str, Any] = {
        "iss": {"essential": True, "value": issuer},
        "aud": {"essential": True, "value": client_id},
        "iat": {"essential": True},
        "jti": {"essential": True},
    }
    try:
        token = jwt.decode(text[:MAX_TOKEN], keys, algorithms=list(algorithms))
        jwt.JWTClaimsRegistry(now=now_s, leeway=LEEWAY_S, **expected).validate(token.claims)
    except (JoseError, ValueError, TypeError) as error:
        raise RefusedLogout(f"the logout token cannot be used ({type(error).__name__})") from error
    if token.header.get("typ") not in TYPES:
        raise RefusedLogout("the token is of another type")
    return _judge(token.claims, now_s)


def _judge(claims: Mapping[str, Any], now_s: int) -> LogoutToken:
    events = claims.get("events")
    if not isinstance(events, dict) or not isinstance(events.get(EVENT), dict) or "nonce" in claims:
        raise RefusedLogout("the token does not say that a session is over")
    if claims["iat"] < now_s - MAX_AGE_S:
        raise RefusedLogout("the logout token is old")
    said = [claims.get(name, "") for name in ("jti", "sub", "sid")]
    if not all(isinstance(text, str) and len(text) <= MAX_TEXT for text in said) or not (said[1] or said[2]):
        raise RefusedLogout("the logout token does not say whose session is over")
    return LogoutToken(*said)
