"""The eBPF filter that passes the heads of flows and counts the rest (bpf/flow_heads.bpf.c).

What passes is DESIGN.md's definition of flow heads; the limits are those of the code that reads the heads, so that both
stay one. They lie in a map: other limits need no other program.
"""

import socket
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sensor import fragments, reassembly
from sensor.capture.bpf_loader import BpfObject
from sensor.capture.flow_counts import FlowCounts
from sensor.capture.packet_filter import FilterCounters
from sensor.flow import TCP_IDLE_NS, UDP_IDLE_NS
from sensor.side_reading import QUIC_HEAD_OCTETS, UDP_HEAD_OCTETS

OBJECT = Path(__file__).with_name("bpf") / "flow_heads.bpf.o"
SO_ATTACH_BPF = 50

_LIMITS: Final = struct.Struct("@QQIIIIIIII")  # struct limits of the C source
_STATS: Final = struct.Struct("@QQQ")  # struct stats
_ONLY: Final = struct.pack("@I", 0)  # the key of maps with one entry


@dataclass(frozen=True, slots=True)
class Limits:
    """How much of each direction of a flow passes, in octets; `flows` is how many are followed at a time (24 MB).

    `tcp_passed_octets` bounds what repetitions within the head add; `opening_packets` pass even without payload.
    """

    flows: int = 131_072
    tcp_octets: int = reassembly.HEAD_OCTETS
    tcp_passed_octets: int = 4 * reassembly.HEAD_OCTETS
    udp_octets: int = UDP_HEAD_OCTETS
    quic_octets: int = QUIC_HEAD_OCTETS
    other_octets: int = 128
    fragment_octets: int = fragments.HEAD_OCTETS
    opening_packets: int = 3
    tcp_idle_ns: int = TCP_IDLE_NS
    udp_idle_ns: int = UDP_IDLE_NS

    def pack(self) -> bytes:
        """Return `struct limits`."""
        return _LIMITS.pack(
            self.tcp_idle_ns,
            self.udp_idle_ns,
            self.tcp_octets,
            self.tcp_passed_octets,
            self.udp_octets,
            self.quic_octets,
            self.other_octets,
            self.fragment_octets,
            self.opening_packets,
            0,
        )


class FlowHeads:
    """The loaded filter; every socket that it is attached to shares one table of flows.

    Raises:
        BpfUnavailable: It cannot be loaded here.
    """

    def __init__(self, limits: Limits | None = None, path: Path = OBJECT) -> None:
        self.limits = limits if limits is not None else Limits()
        self._object = BpfObject(path, {"flows": self.limits.flows})
        self._object.write("limits", _ONLY, self.limits.pack())
        self.flow_counts = FlowCounts(self._object)

    def attach(self, sock: socket.socket, *, has_ethernet: bool) -> None:
        """Filter `sock` from now on; do it before bind, or unfiltered packets queue first.

        Raises:
            OSError: The kernel refused it.
        """
        program = self._object.program("ethernet_heads" if has_ethernet else "network_heads")
        sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_BPF, program)

    def counters(self) -> FilterCounters:
        """Return the totals over all sockets since it was loaded."""
        rows = [_STATS.unpack(row) for row in self._object.read_per_cpu("stats", _ONLY, _STATS.size)]
        packets, octets, opened = map(sum, zip(*rows, strict=True))
        return FilterCounters(packets, octets, opened, self.limits.flows)

    def close(self) -> None:
        """Give program and maps back; sockets keep the program. Closing twice does nothing."""
        self._object.close()
