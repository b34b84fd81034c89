"""Directions of TCP connections: what each has sent of its head, and what was counted of it since."""

from sensor.flows.flow import Count, FlowKey, reverse_key
from sensor.flows.reassembly import HEAD_OCTETS

DIRECTIONS = 262_144
SECOND_NS = 1_000_000_000
_DNS_PORTS = frozenset(port.to_bytes(2, "big") for port in (53, 5353, 5355))


class Direction:
    """What a direction has sent, and what was counted of it: frames, octets on the wire, time of the last."""

    __slots__ = ("fraction", "octets", "packets", "seconds", "sent")

    def __init__(self) -> None:
        self.sent = self.octets = self.packets = self.seconds = self.fraction = 0

    def count(self, seconds: int, fraction: int, wire_octets: int) -> None:
        """Note a frame that is not handed out."""
        self.octets += wire_octets
        self.packets += 1
        self.seconds, self.fraction = seconds, fraction


class Directions:
    """All that sent something, by key; `find` looks one up. A direction takes some 0.25 kB.

    A fraction of a second, as `Direction` has it, lasts `fraction_ns`.
    """

    def __init__(self, fraction_ns: int) -> None:
        self._fraction_ns = fraction_ns
        self._directions: dict[FlowKey, Direction] = {}
        self.find = self._directions.get

    @property
    def is_full(self) -> bool:
        """Tell whether it is time to forget them all."""
        return len(self._directions) > DIRECTIONS

    def spend(self, key: FlowKey, payload_octets: int) -> Direction | None:
        """Return the direction of a segment that is to be counted; None of one that is part of its head."""
        direction = self._directions.get(key)
        if direction is not None and (direction.sent >= HEAD_OCTETS or not payload_octets):
            return direction
        if payload_octets <= 0:
            return None
        if direction is None:
            if key[-4:-2] in _DNS_PORTS or key[-2:] in _DNS_PORTS:  # every look-up of a connection counts
                return None
            direction = self._directions[key] = Direction()
        direction.sent += payload_octets
        return None

    def take(self, key: FlowKey) -> Count | None:
        """Return what was counted since it was taken last."""
        direction = self._directions.get(key)
        if direction is None or not direction.packets:
            return None
        last_ns = direction.seconds * SECOND_NS + direction.fraction * self._fraction_ns
        counted = Count(key, direction.octets, 0, direction.packets, last_ns)
        direction.octets = direction.packets = 0
        return counted

    def renew(self, key: FlowKey) -> list[Count]:
        """Forget both directions of a connection, since a SYN begins them anew; return what was counted of them."""
        counts = [counted for each in (key, reverse_key(key)) if (counted := self.take(each)) is not None]
        for each in (key, reverse_key(key)):
            self._directions.pop(each, None)
        return counts

    def forget(self) -> list[Count]:
        """Forget all directions; return what was counted of them."""
        counts = [counted for key in self._directions if (counted := self.take(key)) is not None]
        self._directions.clear()
        return counts
