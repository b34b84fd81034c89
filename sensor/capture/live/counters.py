"""What a live source of packets counts."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class SourceCounters:
    """Totals since the source was opened: `packets` handed out, `kernel_drops` that the kernel had no room for.

    `filtered_packets` and `filtered_octets` were not handed out, but counted by the filter or held back by the screen;
    `flows_opened` is how many flows the filter began to follow,
    in `flows_places` places (many more than there are: its table is too small), and
    `flows_displaced` those that it forgot for others before their time, where it knows.
    `copies` are packets that another interface had shown already; they were not handed out. `interface_drops` are the
    drops of each interface that is open, since it was opened. `sockets_hurried` were closed before all that came to
    them was sure to have been read, because the next one of their interface was left as well. Of several interfaces
    `packets_hurried` were handed out before older ones can have come, `directions_evicted` are directions of which it
    was forgotten, for want of room, where they show. `faults` are packets and names that an error of the program kept
    it from judging; what they concern was handed out.
    """

    packets: int = 0
    kernel_drops: int = 0
    filtered_packets: int = 0
    filtered_octets: int = 0
    flows_opened: int = 0
    copies: int = 0
    flows_places: int = 0
    flows_displaced: int = 0
    sockets_hurried: int = 0
    faults: int = 0
    packets_hurried: int = 0
    directions_evicted: int = 0
    interface_drops: Mapping[str, int] = field(default_factory=dict)
