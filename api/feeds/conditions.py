"""Conditional and encoded requests (RFC 9110 sections 12.5.3 and 13.1), as far as feeds need them."""

import re
from email.utils import parsedate_to_datetime

from starlette.datastructures import Headers

_ENTITY_TAG = re.compile(r'(?:W/)?("[^"]*")')
_QUALITY = re.compile(r"q=([01](?:\.\d{0,3})?)", re.ASCII)


def accepts_gzip(accept_encoding: str) -> bool:
    """Tell whether the client takes gzip and likes nothing better; one that says nothing gets the plain bytes."""
    weights = {}
    for offer in accept_encoding.lower().split(","):
        coding, _, parameter = offer.strip().partition(";")
        quality = _QUALITY.fullmatch(parameter.strip())
        weights[coding.strip()] = float(quality[1]) if quality else 1.0
    gzip = weights.get("gzip", weights.get("x-gzip", weights.get("*", 0.0)))
    return gzip > 0 and gzip >= weights.get("identity", 0.0)


def is_unchanged(headers: Headers, etag: str, modified_s: int) -> bool:
    """Tell whether the client has these bytes. If-Modified-Since counts only without If-None-Match.

    It must be the very time of these bytes: a clock set back can make a newer list look older than the one before.
    """
    if lines := headers.getlist("if-none-match"):
        tags = ",".join(lines)
        return tags.strip() == "*" or etag in _ENTITY_TAG.findall(tags)
    return _http_date(headers.get("if-modified-since", "")) == modified_s


def _http_date(text: str) -> float | None:
    """Return an HTTP date in seconds since the epoch; None when it is not one, which counts as not sent."""
    try:
        return parsedate_to_datetime(text).timestamp()
    except (ValueError, OverflowError):
        return None
