"""Enrolment tokens: good once, for a short time, and for nothing but a sensor's own token."""

from collections.abc import Collection

from api.times import NS_PER_S
from db.access.values import TokenScope

DEFAULT_NS = 3600 * NS_PER_S
LONGEST_NS = 24 * 3600 * NS_PER_S


def checked_expiry(scopes: Collection[TokenScope], expires_at_ns: int | None, now_ns: int) -> int | None:
    """Return until when a new token of these scopes is good: an enrolment token for an hour unless said otherwise.

    Raises:
        ValueError: it would be for more than enrolment, for too long, or over already.
    """
    if expires_at_ns is not None and expires_at_ns <= now_ns:
        raise ValueError("expires_at: this time is past, so the token would open nothing: give a later one")
    if TokenScope.SENSORS_ENROL not in scopes:
        return expires_at_ns
    if len(set(scopes)) > 1:
        raise ValueError(f"scopes: {TokenScope.SENSORS_ENROL} stands alone: the token is used up by it")
    until_ns = now_ns + DEFAULT_NS if expires_at_ns is None else expires_at_ns
    if until_ns > now_ns + LONGEST_NS:
        raise ValueError("expires_at: an enrolment token is good for 24 hours at most")
    return until_ns
