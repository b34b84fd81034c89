"""RFC 3339 text to nanoseconds and back to what people read."""

import re
from datetime import UTC, datetime, timedelta

NS_PER_S = 1_000_000_000
HOUR_NS = 3600 * NS_PER_S
DAY_NS = 24 * HOUR_NS
LAST_YEAR = 2261  # the last whole year of a signed 64-bit count of nanoseconds

_RFC3339 = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(?:[Zz]|([+-])(\d\d):(\d\d))", re.ASCII
)
_UNITS = ((86_400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))


def parse_rfc3339(text: str) -> int:
    """Return an RFC 3339 time as nanoseconds since the epoch.

    Raises:
        ValueError: the text is something else, or a time before 1970 or after 2261.
    """
    match = _RFC3339.fullmatch(text)
    if match is None:
        raise ValueError(f"{text[:40]!r} is not an RFC 3339 time such as 2026-11-23T18:00:00Z (write + as %2B)")
    *fields, fraction, sign, hours, minutes = match.groups()
    year, month, day, hour, minute, second = map(int, fields)
    moment = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    offset = timedelta(hours=int(hours or 0), minutes=int(minutes or 0)) * (-1 if sign == "-" else 1)
    seconds = int((moment - datetime(1970, 1, 1, tzinfo=UTC) - offset).total_seconds())
    if seconds < 0 or moment.year > LAST_YEAR:
        raise ValueError(f"{text[:40]!r} is before 1970 or after {LAST_YEAR}")
    return seconds * NS_PER_S + int((fraction or "").ljust(9, "0"))


def relative(at_ns: int, now_ns: int) -> str:
    """Return how long ago `at_ns` was, such as `3 minutes ago`."""
    seconds = (now_ns - at_ns) // NS_PER_S
    if seconds < 1:
        return "just now"
    return f"{duration(seconds)} ago"


def duration(seconds: int) -> str:
    """Return whole seconds in their largest unit, such as `3 minutes`."""
    size, unit = next(((size, unit) for size, unit in _UNITS if seconds >= size), _UNITS[-1])
    count = seconds // size
    return f"{count} {unit}{'' if count == 1 else 's'}"
