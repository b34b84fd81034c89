"""URLs on a list: a host and a path, without scheme, port, query or fragment, as URL filters compare them."""

import re

from rules.errors import InvalidName
from rules.matching.names import normalise

MAX_URL_OCTETS = 250  # the shortest limit of a consumer (PAN-OS) is 254
_URL = re.compile(r"https?://([^/?#@\s:]+)(/[^?#]*)", re.IGNORECASE)
_PATH = re.compile(r"/[A-Za-z0-9._~!&()+=@%/:-]*")  # without what readers take for a wildcard, comment or divider


def is_url(text: str) -> bool:
    """Tell whether an entry is meant as a URL."""
    return text.lower().startswith(("http://", "https://"))


def parse_url(text: str) -> tuple[str, str]:
    """Return host and path (`/...`) of a URL.

    Raises:
        InvalidName: it is none, has what a list cannot say, or is too long.
    """
    found = _URL.fullmatch(text if "/" in text.partition("://")[2] else f"{text}/")
    if found is None or not _PATH.fullmatch(found[2]):
        raise InvalidName(f"{text[:80]!r} is no URL for a list: write https://host/path, without port, query and *")
    host = normalise(found[1])
    if len(host) + len(found[2]) > MAX_URL_OCTETS:
        raise InvalidName(f"{text[:80]!r} is longer than {MAX_URL_OCTETS} octets, which firewalls do not take")
    return host, found[2]
