"""Names that programs for tunnels over DNS ask for, recognised one by one."""

import re
from enum import IntEnum
from typing import Final

# iodine 0.5 to 0.8: `v`, then in its base 32 the version 0x000005xx and a seed; and the patterns by which client and
# server find out which octets survive on the way.
_IODINE_VERSION: Final = re.compile(r"vaaaaka[a-x][a-z0-5]{3}\.")
_IODINE_PATTERN: Final = re.compile(
    r"z[a-z0-9]{3}(?:aa-aaahhh-drink-mal-ein-j|aabbccddeeffgghhiijjkkllmmnnooppqqrrssttuuvvwwxxyyzz)"
)
_DNS2TCP_COMMANDS: Final = (".=auth.", ".=resource.", ".=connect.")
DNSCAT2_MARK: Final = "dnscat."  # stands before the data where no domain was given
_HEX_LABELS: Final = re.compile(r"(?:[0-9a-f]+(?:\.|$))+")
_DNSCAT2_LEAST_DIGITS: Final = 18
_DNSCAT2_TYPES: Final = frozenset(("00", "01", "02", "03", "ff"))  # SYN, MSG, FIN, ENC, PING


class QueryType(IntEnum):
    """Record types that carry data for tunnels (IANA registry "DNS Parameters"); PRIVATE is iodine's choice."""

    CNAME = 5
    NULL = 10
    MX = 15
    TXT = 16
    KEY = 25
    SRV = 33
    PRIVATE = 65399


RARE_TYPES: Final = frozenset((QueryType.NULL, QueryType.KEY, QueryType.PRIVATE))
DATA_TYPES: Final = frozenset(map(int, QueryType))


def recognise_program(qname: str) -> str:
    """Return the program whose own words are in the folded `qname`: `iodine`, `dns2tcp`, `dnscat2`, else nothing."""
    first = qname[:1]
    if first == "v" and _IODINE_VERSION.match(qname):
        return "iodine"
    if first == "z" and _IODINE_PATTERN.match(qname):
        return "iodine"
    if first == "d" and qname.startswith(DNSCAT2_MARK) and dnscat2_session(qname.removeprefix(DNSCAT2_MARK)):
        return "dnscat2"
    if "=" in qname and any(command in qname for command in _DNS2TCP_COMMANDS):
        return "dns2tcp"
    return ""


def dnscat2_session(labels: str) -> tuple[str, str] | None:
    """Return session and packet number as hexadecimal digits if `labels` begin as a packet of dnscat2 does.

    A packet is a number of two octets, a type of one and a session of two; a session never changes, the number always
    does, and hardly anything else of the sort stands at both places.
    """
    found = _HEX_LABELS.match(labels)
    digits = found[0].replace(".", "") if found else ""
    if len(digits) < _DNSCAT2_LEAST_DIGITS or digits[4:6] not in _DNSCAT2_TYPES:
        return None
    return digits[6:10], digits[:4]
