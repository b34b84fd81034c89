"""Times as logs write them."""

from datetime import datetime
from functools import lru_cache

from sensor.errors import MalformedLogLine

_MONTHS = {name: number for number, name in enumerate("Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(), 1)}  # noqa: SIM905 - reads better
_DATE_OCTETS = 17  # 23/Nov/2026:22:08


def common_time_ns(text: bytes, offset: int) -> int:
    """Return `23/Nov/2026:22:08:24 +0100`, with or without `.123` and zone, in nanoseconds since the epoch.

    Without a zone it is this host's local time, the only reading that can be had; in the hour that comes twice when
    summer ends, the first.

    Raises:
        MalformedLogLine: no such time.
    """
    clock, _, zone = text.partition(b" ")
    seconds, _, fraction = clock[_DATE_OCTETS:].removeprefix(b":").partition(b".")
    try:
        minute_s = _minute_s(clock[:_DATE_OCTETS].decode("ascii"), zone.decode("ascii"))
        return (minute_s + int(seconds)) * 1_000_000_000 + int(fraction.ljust(9, b"0")[:9])
    except (ValueError, KeyError, OverflowError):
        raise MalformedLogLine(offset, "no time") from None


@lru_cache(maxsize=256)
def _minute_s(text: str, zone: str) -> int:
    """Return the beginning of a minute in seconds since the epoch; consecutive lines share it."""
    day, month, rest = text.split("/")
    year, hour, minute = rest.split(":")
    iso = f"{year}-{_MONTHS[month]:02d}-{day}T{hour}:{minute}:00{zone}"
    return int(datetime.fromisoformat(iso).timestamp())
