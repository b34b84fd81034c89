"""How much of a flow passes: the limits of the flow-head policy (bpf/flow_policy.h), live and offline.

They are those of the code that reads the heads, so that both stay one.
"""

import struct
from dataclasses import dataclass
from typing import Final

from sensor.decoding import fragments
from sensor.flows import reassembly
from sensor.flows.flow import TCP_IDLE_NS, UDP_IDLE_NS
from sensor.flows.side_reading import QUIC_HEAD_OCTETS, UDP_HEAD_OCTETS

_LIMITS: Final = struct.Struct("@QQIIIIIIII")  # struct limits
LIMITS_OCTETS: Final[int] = _LIMITS.size


@dataclass(frozen=True, slots=True)
class Limits:
    """How much of each direction of a flow passes, in octets below 65,535; `flows` is how many are followed at a time.

    `tcp_passed_octets` bounds what repetitions within the head add; `opening_packets` (below 255) pass even without
    payload. In the kernel 131,072 flows take 24 MB, over a file 8 MiB.
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
