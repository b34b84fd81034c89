"""The eBPF filter that passes the heads of flows and counts the rest (bpf/flow_heads.bpf.c).

What passes is written in bpf/flow_policy.h. The limits lie in a map: other limits need no other program.
"""

import socket
import struct
from pathlib import Path
from typing import Final

from sensor.capture.bpf_loader import BpfObject
from sensor.capture.flow_counts import FlowCounts
from sensor.capture.limits import Limits
from sensor.capture.packet_filter import FilterCounters
from sensor.flow import Flow

OBJECT = Path(__file__).with_name("bpf") / "flow_heads.bpf.o"
SO_ATTACH_BPF = 50

_STATS: Final = struct.Struct("@QQQ")  # struct stats of the C source
_ONLY: Final = struct.pack("@I", 0)  # the key of maps with one entry


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

    def count_apart(self, flow: Flow) -> None:
        """Note in `flow` what was counted of it."""
        self.flow_counts.count_apart(flow)

    def close(self) -> None:
        """Give program and maps back; sockets keep the program. Closing twice does nothing."""
        self._object.close()
