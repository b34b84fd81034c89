"""The eBPF filter that passes the heads of flows and counts the rest (bpf/flow_heads.bpf.c).

What passes is written in bpf/flow_policy.h. The limits lie in a map: other limits need no other program.
"""

import socket
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sensor.capture.copies import MOVED_NS
from sensor.capture.filter.bpf_loader import BpfObject
from sensor.capture.filter.flow_counts import FlowCounts
from sensor.capture.filter.limits import Limits
from sensor.capture.filter.packet_filter import NOTHING_CUT, CutOff, FilterCounters, Shows, SocketFilter
from sensor.flows.flow import Count, Flow
from sensor.share import ALL, Share

OBJECT = Path(__file__).parents[1] / "bpf" / "flow_heads.bpf.o"
SO_ATTACH_BPF = 50
SHARED_MAPS = ("flows", "limits", "stats")

_STATS: Final = struct.Struct("@QQQQ")  # struct stats of the C source
_PLACE: Final = struct.Struct("@QIII4x")  # struct place
_ONLY: Final = struct.pack("@I", 0)  # the key of maps with one entry


class FlowHeads:
    """The loaded filter; every socket that it is attached to shares one table of flows.

    Only packets of `share` pass, and only those are counted.

    Raises:
        BpfUnavailable: It cannot be loaded here.
    """

    def __init__(self, limits: Limits | None = None, path: Path = OBJECT, share: Share = ALL) -> None:
        self._share = share
        self.limits = limits if limits is not None else Limits()
        self._path = path
        self._elsewhere: dict[str, _FlowHeadsElsewhere] = {}
        self._object = BpfObject(path, {"flows": self.limits.flows}, {})
        self._object.write("limits", _ONLY, self.limits.pack())
        self._object.write("place", _ONLY, self._place(0))
        self.flow_counts = FlowCounts(self._object)

    def attach(self, sock: socket.socket, *, has_ethernet: bool) -> None:
        """Filter `sock` from now on; do it before bind, or unfiltered packets queue first.

        Raises:
            OSError: The kernel refused it.
        """
        _attach(self._object, sock, has_ethernet=has_ethernet)

    def inside(self, namespace: str) -> SocketFilter:
        """Return the filter for sockets of another network namespace: another program over the same table of flows.

        Raises:
            BpfUnavailable: It cannot be loaded.
        """
        if not namespace:
            return self
        if namespace not in self._elsewhere:
            loaded = BpfObject(self._path, {}, dict.fromkeys(SHARED_MAPS, self._object))
            loaded.write("place", _ONLY, self._place(len(self._elsewhere) + 1))
            self._elsewhere[namespace] = _FlowHeadsElsewhere(loaded)
        return self._elsewhere[namespace]

    def counters(self) -> FilterCounters:
        """Return the totals over all sockets since it was loaded."""
        rows = [_STATS.unpack(row) for row in self._object.read_per_cpu("stats", _ONLY, _STATS.size)]
        packets, octets, copies, opened = map(sum, zip(*rows, strict=True))
        return FilterCounters(packets, octets, opened, copies, self.limits.flows)

    def cut_off(self) -> CutOff:
        """Return what lets all pass: the kernel has cut off the rest."""
        return NOTHING_CUT

    def count_apart(self, flow: Flow, shows: Shows) -> None:  # noqa: ARG002 - the kernel leaves copies out
        """Note in `flow` what was counted of it."""
        self.flow_counts.count_apart(flow)

    def take_counts(self, shows: Shows) -> list[Count]:  # noqa: ARG002 - they stay in the kernel
        """Return nothing."""
        return []

    def close(self) -> None:
        """Give program and maps back; sockets keep the program. Closing twice does nothing."""
        for elsewhere in self._elsewhere.values():
            elsewhere.loaded.close()
        self._object.close()

    def _place(self, number: int) -> bytes:
        """The values of `struct place` for the sockets of a network namespace."""
        return _PLACE.pack(MOVED_NS, number, self._share.worker, self._share.workers)


@dataclass(frozen=True, slots=True)
class _FlowHeadsElsewhere:
    """The program for the sockets of another network namespace; a `FlowHeads` owns it."""

    loaded: BpfObject

    def attach(self, sock: socket.socket, *, has_ethernet: bool) -> None:
        """As `FlowHeads.attach`."""
        _attach(self.loaded, sock, has_ethernet=has_ethernet)

    def cut_off(self) -> CutOff:
        """As `FlowHeads.cut_off`."""
        return NOTHING_CUT


def _attach(loaded: BpfObject, sock: socket.socket, *, has_ethernet: bool) -> None:
    program = loaded.program("ethernet_heads" if has_ethernet else "network_heads")
    sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_BPF, program)
