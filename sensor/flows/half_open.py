"""Flows of which only a SYN was seen, apart from all others: a flood of them leaves those that carry something alone.

A row takes about 0.25 kB, a quarter of a flow whose head is read. Any other packet makes it a flow. Every operation
takes constant time.
"""

from collections import OrderedDict
from collections.abc import Iterator
from typing import Final

from sensor.decoding.decode import Segment, TcpFlag
from sensor.flows.flow import Flow, FlowHead, FlowKey, reverse_key
from sensor.flows.reassembly import StreamHead
from sensor.packet import NEVER_NS

_SYN: Final = int(TcpFlag.SYN)
_ACK: Final = int(TcpFlag.ACK)

HalfOpenRow = tuple[FlowKey, "HalfOpen"]


class HalfOpen:
    """A SYN that nothing followed; side 0 sent it. `octets` are those on the wire."""

    __slots__ = ("first_ns", "interface", "isn", "number", "octets")

    def __init__(self, number: int, first_ns: int, isn: int, octets: int, interface: str) -> None:
        self.number = number
        self.first_ns = first_ns
        self.isn = isn
        self.octets = octets
        self.interface = interface


class HalfOpenTable:
    """At most `limit` SYNs by the key of their direction; the oldest makes room and is counted in `evicted`."""

    def __init__(self, limit: int) -> None:
        self.evicted = 0
        self._limit = limit
        self._rows: OrderedDict[FlowKey, HalfOpen] = OrderedDict()

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def first_ns(self) -> int:
        """Return when the oldest SYN was sent, `NEVER_NS` without any."""
        return next(iter(self._rows.values())).first_ns if self._rows else NEVER_NS

    def add(self, key: FlowKey, row: HalfOpen) -> list[HalfOpenRow]:
        """Put `row` in, which was not there, and return what leaves to make room."""
        leaving = []
        if len(self._rows) >= self._limit:
            leaving.append(self._rows.popitem(last=False))
            self.evicted += 1
        self._rows[key] = row
        return leaving

    def pop(self, key: FlowKey) -> HalfOpenRow | None:
        """Take out the SYN of a flow that `key` belongs to, in either direction, and return it with its key."""
        for known in (key, reverse_key(key)):
            row = self._rows.pop(known, None)
            if row is not None:
                return known, row
        return None

    def pop_until(self, first_ns: int) -> Iterator[HalfOpenRow]:
        """Take out and yield the SYNs sent by `first_ns`, the oldest first."""
        while self._rows and next(iter(self._rows.values())).first_ns <= first_ns:
            yield self._rows.popitem(last=False)

    def clear(self) -> list[HalfOpenRow]:
        """Take all out and return them."""
        rows = list(self._rows.items())
        self._rows.clear()
        return rows


def opened(key: FlowKey, row: HalfOpen) -> tuple[Flow, FlowHead]:
    """Return the flow that a SYN of side 0 began."""
    head = FlowHead(row.interface)
    head.opener = 0
    head.sides[0].stream = StreamHead()
    head.sides[0].stream.start_at((row.isn + 1) & 0xFFFFFFFF)
    flow = Flow(key, row.number, row.first_ns, head)
    flow.isn, flow.octets_0, flow.packets = row.isn, row.octets, 1
    return flow, head


def ends_of(key: FlowKey) -> tuple[bytes, bytes]:
    """Return source and destination address of a key."""
    octets = (len(key) - 4) >> 1
    return key[:octets], key[octets : 2 * octets]


def is_refused(flow: Flow, side: int, segment: Segment) -> bool:
    """Tell whether a SYN changes nothing because the connection is open (RFC 9293 section 3.10.7.4).

    Where both sides have sent and none has closed, only the other end's answer to it can begin another connection. So
    a SYN that is thrown in before the hello, or into its middle, does not hide it.
    """
    head = flow.head
    if not segment.flags & _SYN or head is None or flow.closed or flow.isn is None:
        return False
    if not head.sides[0].has_sent or not head.sides[1].has_sent:
        return False
    return side == head.opener and (bool(segment.flags & _ACK) or segment.seq != flow.isn)
