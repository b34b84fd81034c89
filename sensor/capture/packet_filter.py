"""What decides in the kernel which packets a packet socket gets."""

import socket
from dataclasses import dataclass
from typing import Protocol

from sensor.capture import classic
from sensor.flow import Flow


@dataclass(frozen=True, slots=True)
class FilterCounters:
    """Totals of what a filter kept back (and counted), flows it began to follow, copies of what passed elsewhere.

    `flows_places` is how many flows it can follow at a time.
    """

    packets: int = 0
    octets: int = 0
    flows_opened: int = 0
    copies: int = 0
    flows_places: int = 0


class SocketFilter(Protocol):
    """What filters the sockets of one network namespace."""

    def attach(self, sock: socket.socket, *, has_ethernet: bool) -> None:
        """Filter `sock` from now on; do it before bind, or unfiltered packets queue first.

        Raises:
            OSError: The kernel refused it.
        """


class PacketFilter(SocketFilter, Protocol):
    """One filter for all sockets of a source, itself for those of the process's own network namespace."""

    def inside(self, namespace: str) -> SocketFilter:
        """The same for sockets of another network namespace; belongs to this one.

        Raises:
            BpfUnavailable: The kernel refused it.
        """

    def counters(self) -> FilterCounters:
        """The totals so far."""

    def count_apart(self, flow: Flow) -> None:
        """Note in `flow` what the filter counted of it; one that keeps nothing back has nothing to note."""

    def close(self) -> None:
        """Give back what the filter holds; sockets keep it."""


@dataclass(frozen=True, slots=True)
class EveryIpPacket:
    """Passes every IPv4 and IPv6 packet, up to `snap_octets`; needs no right beyond that to the socket."""

    snap_octets: int = classic.SNAP_OCTETS

    def attach(self, sock: socket.socket, *, has_ethernet: bool) -> None:
        """Filter `sock` from now on. Raises OSError if the kernel refuses."""
        make = classic.ethernet_program if has_ethernet else classic.network_program
        classic.attach(sock, make(self.snap_octets))

    def inside(self, namespace: str) -> SocketFilter:  # noqa: ARG002 - all are alike
        """Return the filter for sockets of another network namespace."""
        return self

    def counters(self) -> FilterCounters:
        """Return zeros: nothing that matters is kept back."""
        return FilterCounters()

    def count_apart(self, flow: Flow) -> None:
        """Every packet is read and counted there."""

    def close(self) -> None:
        """Nothing is held."""
