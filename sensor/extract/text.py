"""Octets from the wire as text that is safe to compare, store and print."""

from functools import lru_cache
from typing import Final

from rules.matching.names import MAX_NAME_OCTETS, fold

MAX_PORT_OCTETS: Final = 7  # a dot at the end and `:65535`
_PLAIN: Final = bytes(octet for octet in range(0x21, 0x7F) if octet != ord("\\"))


def escape(octets: bytes) -> str:
    r"""Return printable ASCII as it is, every other octet and the backslash as `\DDD` (RFC 1035 section 5.1)."""
    if not octets.translate(None, _PLAIN):
        return octets.decode("ascii")
    return "".join(chr(octet) if octet in _PLAIN else f"\\{octet:03d}" for octet in octets)


def escape_line(octets: bytes) -> str:
    r"""Return a line of text: as `escape`, but a space stays a space."""
    return " ".join(escape(word) for word in octets.split(b" "))


def fold_host(octets: bytes) -> str:
    r"""Return a host name in the form the matcher compares; what cannot be a name comes back escaped.

    UTF-8 that clients should have sent as A-labels is converted. Control octets are escaped, so that a NUL or a line
    break cannot make a name look like another one. The cost is bounded: of what is too long for a name no more than a
    name's length is kept, with a backslash behind it, which no name has, and only what fits a name reaches IDNA.
    """
    if len(octets) > MAX_NAME_OCTETS + MAX_PORT_OCTETS:
        return fold(escape(octets[:MAX_NAME_OCTETS])) + "\\"
    return _fold_short(octets)


@lru_cache(maxsize=4096)  # hosts come again and again
def _fold_short(octets: bytes) -> str:
    if octets.isascii():
        return fold(escape(octets))
    try:
        text = octets.decode("utf-8")
    except UnicodeDecodeError:
        return fold(escape(octets))
    folded = fold(text)  # takes out what does not show, such as a soft hyphen, if the rest is a name
    return folded if folded.isprintable() else fold(escape(octets))
