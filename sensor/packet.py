"""A captured packet, the link types it can have, and a time after all of them."""

from enum import IntEnum
from typing import Final

import msgspec

NEVER_NS: Final = (1 << 62) - 1 - 3_600_000_000_000  # compiled code holds it in a register, also with an hour added


class LinkType(IntEnum):
    """Link-layer header types (the tcpdump.org LINKTYPE registry)."""

    NULL = 0
    ETHERNET = 1
    RAW_BSD = 12
    RAW = 101
    LOOP = 108
    LINUX_SLL = 113
    IPV4 = 228
    IPV6 = 229
    LINUX_SLL2 = 276


class Packet(msgspec.Struct, gc=False):
    """One frame as it was captured; `data` may be shorter than `wire_octets` (snap length)."""

    ts_ns: int
    link_type: int
    data: bytes
    wire_octets: int
    interface: str = ""
