"""The flow-head policy in the program, for sockets that pass every IP packet: where the kernel may not be given it.

What passes is written in bpf/flow_policy.h, as in the kernel and over files; `_ring.c` judges packets where they lie,
so that only heads become objects of Python. The rest is counted for its flow (`sensor.flows.flow.Count`): handed out
when the flow begins anew or is displaced, or taken for a flow that is asked about.

One table serves all sockets; each has its own entry of a flow that several show, and passes its own head of it. So
`sensor.capture.copies` sees them in the order of time and chooses the interface; what others counted of that flow is
left out.

Cost: bench/live.py. The table takes 13 MiB once it is full.
"""

import socket

from sensor.capture.filter import classic
from sensor.capture.filter.flow_table import CountRow, make_table, totals_of
from sensor.capture.filter.limits import Limits
from sensor.capture.filter.packet_filter import CutOff, FilterCounters, Shows, SocketFilter
from sensor.flows.flow import Count, Flow, reverse_key

try:
    from sensor.capture.compiled._heads import take
except ImportError:  # there was no compiler: nobody asks for this filter then
    IS_COMPILED = False
else:
    IS_COMPILED = True

HEADER_OCTETS = 256  # of Ethernet, three tags, IP and TCP: less
MOST_SOCKETS = 1 << 16  # a number is used again after so many


class ProgramHeads:
    """A filter that passes IP packets, 16 KiB of each, 4.25 of TCP; a table of flows cuts off what is no head."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.limits = limits if limits is not None else Limits()
        self._table = make_table(self.limits)
        self._rows: list[CountRow] = []
        self._sockets = 0

    def attach(self, sock: socket.socket, *, has_ethernet: bool) -> None:
        """Filter `sock` from now on. Raises OSError if the kernel refuses."""
        make = classic.ethernet_program if has_ethernet else classic.network_program
        classic.attach(sock, make(classic.HEAD_SNAP_OCTETS, self.limits.tcp_octets + HEADER_OCTETS))

    def cut_off(self) -> CutOff:
        """Return what judges the packets of one more socket."""
        self._sockets += 1
        return CutOff(self._table, self._sockets % MOST_SOCKETS, self._rows)

    def inside(self, namespace: str) -> SocketFilter:  # noqa: ARG002 - all are alike
        """Return the filter for sockets of another network namespace."""
        return self

    def counters(self) -> FilterCounters:
        """Return the totals over all sockets."""
        totals = totals_of(self._table)
        return FilterCounters(
            packets=totals.cut_packets,
            octets=totals.cut_octets,
            flows_opened=totals.opened,
            flows_places=self.limits.flows,
            flows_displaced=totals.displaced,
        )

    def count_apart(self, flow: Flow, shows: Shows) -> None:
        """Add to `flow` what was counted of it until now and not handed out."""
        for number, octets_0, octets_1, packets_0, packets_1, last_ns in take(self._table, flow.key):
            row = 0, number, flow.key, octets_0, octets_1, packets_0, packets_1, last_ns
            flow.add(_without_copies(row, shows), 0)

    def take_counts(self, shows: Shows) -> list[Count]:
        """Return what was counted, since the last call, of flows that began anew or were displaced."""
        counts = [_without_copies(row, shows) for row in self._rows]
        self._rows.clear()
        return counts

    def close(self) -> None:
        """Nothing is held."""


def _without_copies(row: CountRow, shows: Shows) -> Count:
    """What a socket counted in the directions that it shows first."""
    _, number, key, octets_0, octets_1, packets_0, packets_1, last_ns = row
    first, second = shows(number, key), shows(number, reverse_key(key))
    return Count(key, octets_0 * first, octets_1 * second, packets_0 * first + packets_1 * second, last_ns)
