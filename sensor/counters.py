"""What the pipeline counts."""

from dataclasses import dataclass, field

from sensor.errors import MalformedInput


@dataclass(slots=True)
class Counters:
    """Totals since the start; every packet is counted once in `packets`.

    `not_ip`: packets that carry nothing read here (not IP, or neither TCP, UDP nor an ICMP unreachable message).
    `truncated`: packets whose headers the snap length cut. `malformed`: by class of error. `conflicts`: TCP segments
    that repeat octets differently. What a full table dropped is counted as docs/architecture.md names it.
    """

    packets: int = 0
    octets: int = 0
    not_ip: int = 0
    truncated: int = 0
    fragments: int = 0
    flows: int = 0
    dns_messages: int = 0
    own_lookups: int = 0
    conflicts: int = 0
    flows_evicted: int = 0
    half_open_evicted: int = 0
    reassembly_evicted: int = 0
    fragments_evicted: int = 0
    dns_evicted: int = 0
    shapes_evicted: int = 0
    names_evicted: int = 0
    asked_evicted: int = 0
    kept_evicted: int = 0
    malformed: dict[str, int] = field(default_factory=dict)

    def count_malformed(self, error: MalformedInput) -> None:
        """Count `error` under its class name."""
        kind = type(error).__name__
        self.malformed[kind] = self.malformed.get(kind, 0) + 1
