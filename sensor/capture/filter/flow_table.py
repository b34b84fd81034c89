"""The table of flows that compiled code judges packets by (flow_table.h), over files and sockets alike.

It is a buffer that this code lays out and that C reads and writes in place. A flow's place is one of eight that its key
points to; a new flow takes that of the one used least recently, which gets another head when it comes back.
"""

import struct
from typing import Final, NamedTuple, TypeAlias

from sensor.capture.filter.limits import LIMITS_OCTETS, Limits
from sensor.flows.flow import FlowKey

CLOCK_STEP_NS: Final = 60_000_000_000

# Behind how many packets, socket, key, octets from its source and from the other end, packets from each, last time.
CountRow: TypeAlias = tuple[int, int, FlowKey, int, int, int, int, int]

_TABLE_OCTETS, _SLOT_OCTETS = 128, 104  # struct table, struct slot
_CLOCK: Final = struct.Struct("=QQQ")  # what struct table begins with; the limits follow
_TOTALS: Final = struct.Struct("=QQQQ")
_TOTALS_AT: Final = _CLOCK.size + LIMITS_OCTETS + 8


class TableTotals(NamedTuple):
    """Packets and octets that did not pass, flows that were given a place, and flows that lost theirs while alive."""

    cut_packets: int
    cut_octets: int
    opened: int
    displaced: int


def make_table(limits: Limits | None = None) -> bytearray:
    """Return an empty table with room for `limits.flows` (a power of two, 8 at least); 104 octets each, once used."""
    limits = limits if limits is not None else Limits()
    table = bytearray(_TABLE_OCTETS + limits.flows * _SLOT_OCTETS)
    _CLOCK.pack_into(table, 0, 0, 0, CLOCK_STEP_NS)
    table[_CLOCK.size : _CLOCK.size + LIMITS_OCTETS] = limits.pack()
    return table


def totals_of(table: bytearray) -> TableTotals:
    """Return what the table has counted in all."""
    return TableTotals(*_TOTALS.unpack_from(table, _TOTALS_AT))
