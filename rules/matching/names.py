"""Host names in one canonical form: lower-case ASCII (A-labels), no trailing dot, no port."""

import ipaddress
import re
from typing import Final

import idna

from rules.errors import InvalidName

MAX_NAME_OCTETS: Final = 253
MAX_LABEL_OCTETS: Final = 63

_DOTS: Final = re.compile("[.\u3002\uff0e\uff61]")  # UTS 46 section 4, with those that it maps to a full stop
_PLAIN_LABEL: Final = re.compile(r"[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?")


def normalise(name: str) -> str:
    """Return `name` in canonical form; one that has it already as the same object: there may be a million.

    Underscore labels (`_v2-origintunneld._tcp`) are kept: DNS has them although host names do not (RFC 8553).

    Raises:
        InvalidName: it is empty, too long (RFC 1035 section 2.3.4), an address, or not IDNA 2008 (RFC 5891).
    """
    text = name.strip().rstrip(".").lower()
    if not text:
        raise InvalidName("the name is empty")
    labels = [label if _PLAIN_LABEL.fullmatch(label) else _to_a_label(label, name) for label in text.split(".")]
    canonical = ".".join(labels)
    if len(canonical) > MAX_NAME_OCTETS or any(len(label) > MAX_LABEL_OCTETS for label in labels):
        raise InvalidName(
            f"{name[:80]!r} is longer than a name may be ({MAX_NAME_OCTETS} octets, {MAX_LABEL_OCTETS} a label)"
        )
    if canonical[-1].isdigit() and is_address(canonical):
        raise InvalidName(f"{name!r} is an address, not a name")
    return name if canonical == name else canonical


def fold(wire_name: str) -> str:
    """Return a name seen on the wire in the form the matcher compares: case-folded, without trailing dots or a port.

    It never fails: labels that cannot be A-labels stay as they are.
    """
    text = wire_name.lower()
    host, colon, port = text.rpartition(":")
    if colon and port.isdigit() and (":" not in host or host.endswith("]")):
        text = host
    text = text.rstrip(".")
    return text if text.isascii() else ".".join(map(_fold_label, _DOTS.split(text))).rstrip(".")


def is_address(text: str) -> bool:
    """Tell whether `text` is an IPv4 or IPv6 address rather than a name."""
    try:
        ipaddress.ip_address(text.strip("[]"))
    except ValueError:
        return False
    return True


def is_at_or_below(name: str, parent: str) -> bool:
    """Tell whether canonical `name` is `parent` or lies below it, by whole labels."""
    return name == parent or name.endswith("." + parent)


def ancestors(name: str) -> list[str]:
    """Return `name` and every name above it, longest first: `a.b.c`, `b.c`, `c`."""
    found = [name]
    at = name.find(".")
    while at >= 0:
        found.append(name[at + 1 :])
        at = name.find(".", at + 1)
    return found


def _fold_label(label: str) -> str:
    """Return a label as URL parsers ask resolvers for it, also where IDNA 2008 has none; as it is if they refuse it."""
    if label.isascii():
        return label
    try:
        mapped = idna.uts46_remap(label, std3_rules=False)
    except (idna.IDNAError, UnicodeError):
        return label
    if mapped.isascii():
        return mapped
    return f"xn--{mapped.encode('punycode').decode('ascii')}" if mapped.isprintable() else label


def _to_a_label(label: str, name: str) -> str:
    try:
        return idna.encode(label, uts46=True).decode("ascii")
    except idna.IDNAError as error:
        raise InvalidName(f"{name[:80]!r} is not a host name: {error}") from None
