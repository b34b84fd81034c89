"""A captured packet and the link types it can have."""

from dataclasses import dataclass
from enum import IntEnum


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


@dataclass(slots=True)
class Packet:
    """One frame as it was captured; `data` may be shorter than `wire_octets` (snap length)."""

    ts_ns: int
    link_type: int
    data: bytes
    wire_octets: int
    interface: str = ""
