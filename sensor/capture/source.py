"""What every live or offline source of packets offers to the pipeline."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from sensor.packet import Packet


@dataclass(frozen=True, slots=True)
class SourceCounters:
    """Totals since the source was opened: `packets` handed out, `kernel_drops` that the kernel had no room for.

    `filtered_packets` and `filtered_octets` were counted in the kernel and not handed out; `flows_opened` is how many
    flows the kernel began to follow there, in `flows_places` places (many more than there are: its table is too small).
    `copies` are packets that another interface had shown already; they were not handed out. `interface_drops` are the
    drops of each interface that is open, since it was opened.
    """

    packets: int = 0
    kernel_drops: int = 0
    filtered_packets: int = 0
    filtered_octets: int = 0
    flows_opened: int = 0
    copies: int = 0
    flows_places: int = 0
    interface_drops: Mapping[str, int] = field(default_factory=dict)


class PacketSource(Protocol):
    """Packets in the order in which they were captured. A source belongs to one thread."""

    @property
    def engine(self) -> str:
        """The name of the way packets are taken, for the heartbeat and the log."""

    @property
    def engine_reason(self) -> str:
        """Why this engine is the one in use, in one sentence."""

    def read(self, timeout_s: float) -> list[Packet] | None:
        """Packets that came within `timeout_s` seconds; `[]` if none did, None at the end of the source.

        Raises:
            CaptureError: The source cannot go on; the message says what to do.
        """

    def counters(self) -> SourceCounters:
        """The totals so far."""

    def filenos(self) -> tuple[int, ...]:
        """File descriptors that become readable when `read` has something; they change with the interfaces."""

    def close(self) -> None:
        """Give everything back; `read` answers None from now on."""
