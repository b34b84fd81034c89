"""The ways to present a token: path, Bearer, HTTP Basic and `X-Api-Key`; no device speaks all of them."""

import base64
import binascii

from starlette.datastructures import Headers

from api.access.secrets import SECRET, Presented, parse, written

MAX_CREDENTIAL_OCTETS = 512


def presented_token(headers: Headers, path_token: str = "") -> Presented | None:
    """Return the token of a request, None when there is none that can be read; the path comes first.

    HTTP Basic (RFC 7617) takes the token as the password under any user name, or its id as the user name with the
    secret alone as the password.
    """
    if path_token:
        return parse(path_token)
    scheme, _, value = headers.get("authorization", "").strip()[:MAX_CREDENTIAL_OCTETS].partition(" ")
    if scheme.lower() == "bearer":
        return parse(value.strip())
    if scheme.lower() == "basic":
        return _basic(value.strip())
    return parse(headers.get("x-api-key", "")[:MAX_CREDENTIAL_OCTETS].strip())


def has_credential(headers: Headers, path_token: str = "") -> bool:
    """Tell whether a request tries to say who it comes from."""
    return bool(path_token) or "authorization" in headers or "x-api-key" in headers


def _basic(value: str) -> Presented | None:
    try:
        user, _, password = base64.b64decode(value, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError, ValueError):
        return parse("")
    if SECRET.fullmatch(password):
        return parse(written(user.removeprefix("mc_"), password))
    return parse(password)
