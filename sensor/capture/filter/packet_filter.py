"""What decides which packets of a socket are handed out: a filter in the kernel, and a cut-off in the program."""

import socket
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from operator import attrgetter, itemgetter
from typing import Final, NamedTuple, Protocol, TypeAlias

from sensor.capture.filter import classic
from sensor.capture.filter.flow_table import CountRow
from sensor.flows.flow import Count, Flow, FlowKey
from sensor.packet import Packet

_in_time = attrgetter("ts_ns")
Shows: TypeAlias = Callable[[int, FlowKey], bool]


@dataclass(frozen=True, slots=True)
class FilterCounters:
    """Totals of what a filter kept back (and counted), flows it began to follow, copies of what passed elsewhere.

    `flows_places` is how many flows it can follow at a time, `flows_displaced` how many it forgot before their time
    (the kernel does not say).
    """

    packets: int = 0
    octets: int = 0
    flows_opened: int = 0
    copies: int = 0
    flows_places: int = 0
    flows_displaced: int = 0


class CutOff(NamedTuple):
    """What judges the packets of one socket: a table of flows (None: all pass), its number there, where counts go."""

    table: bytearray | None
    socket: int
    counts: list[CountRow]


NOTHING_CUT: Final = CutOff(None, 0, [])


class SocketFilter(Protocol):
    """What filters the sockets of one network namespace."""

    def attach(self, sock: socket.socket, *, has_ethernet: bool) -> None:
        """Filter `sock` from now on; do it before bind, or unfiltered packets queue first.

        Raises:
            OSError: The kernel refused it.
        """

    def cut_off(self) -> CutOff:
        """What judges the packets that pass, for one more socket."""


class PacketFilter(SocketFilter, Protocol):
    """One filter for all sockets of a source, itself for those of the process's own network namespace."""

    def inside(self, namespace: str) -> SocketFilter:
        """The same for sockets of another network namespace; belongs to this one.

        Raises:
            BpfUnavailable: The kernel refused it.
        """

    def counters(self) -> FilterCounters:
        """The totals so far."""

    def count_apart(self, flow: Flow, shows: Shows) -> None:
        """Note in `flow` what the filter counted of it; one that keeps nothing back has nothing to note.

        `shows(socket, key)` tells whether a direction's packets are taken from a socket; those of others are copies.
        """

    def take_counts(self, shows: Shows) -> list[Count]:
        """What was counted, since the last call, of flows that began anew or were forgotten."""

    def close(self) -> None:
        """Give back what the filter holds; sockets keep it."""


@dataclass(frozen=True, slots=True)
class EveryIpPacket:
    """Passes every IPv4 and IPv6 packet, up to `snap_octets`; needs no right beyond that to the socket."""

    snap_octets: int = classic.SNAP_OCTETS

    def attach(self, sock: socket.socket, *, has_ethernet: bool) -> None:
        """Filter `sock` from now on. Raises OSError if the kernel refuses."""
        make = classic.ethernet_program if has_ethernet else classic.network_program
        classic.attach(sock, make(self.snap_octets, self.snap_octets))

    def cut_off(self) -> CutOff:
        """Return what lets all pass."""
        return NOTHING_CUT

    def inside(self, namespace: str) -> SocketFilter:  # noqa: ARG002 - all are alike
        """Return the filter for sockets of another network namespace."""
        return self

    def counters(self) -> FilterCounters:
        """Return zeros: nothing that matters is kept back."""
        return FilterCounters()

    def count_apart(self, flow: Flow, shows: Shows) -> None:
        """Every packet is read and counted there."""

    def take_counts(self, shows: Shows) -> list[Count]:  # noqa: ARG002 - nothing is counted
        """Return nothing."""
        return []

    def close(self) -> None:
        """Nothing is held."""


def placed(counts: list[Count], batch: list[Packet]) -> list[tuple[int, Count]]:
    """Return `counts`, each behind the packets of `batch` that came before the last one counted, in this order."""
    if not counts:
        return []
    rows = [(bisect_right(batch, counted.last_ns, key=_in_time), counted) for counted in counts]
    return sorted(rows, key=itemgetter(0))
