"""The flow table: every TCP and UDP flow by its five-tuple, both directions together.

A flow has two sides; side 0 sent the first packet that was seen. A side is *quiet* once nothing more is to be read
from it: its packets are only counted. `FlowTable.count_quiet` does that before decoding, for Ethernet frames with at
most two tags: one slice, one or two look-ups and two additions; nothing that it allocates stays. bench/pipeline.py
measures it.

A flow takes about 0.5 kB; while its head is being read, 1 kB and what is stored of it more. None of these refers back
to what holds it, so the garbage collector need not look at them (`gc=False`).
"""

import struct
from collections import OrderedDict
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final, NamedTuple

from rules.values.observation import FiveTuple, FlowState, Indicator, Kind, Traffic, Transport
from sensor.extract.stream import StreamFacts
from sensor.packet import LinkType, Packet

if TYPE_CHECKING:
    from sensor.extract.quic import QuicInitialReader
    from sensor.flows.reassembly import StreamHead

TCP_IDLE_NS: Final = 3_600_000_000_000
UDP_IDLE_NS: Final = 300_000_000_000
SETTLE_NS: Final = 3_000_000_000
BOTH: Final = 3

FlowKey = bytes  # source and destination address, both ports, and `u` for UDP
NOTHING_READ: Final = StreamFacts(is_complete=False)

Report = tuple[tuple[Indicator, ...], FlowState, Kind]

_UDP_MARK: Final = b"u"
_DNS_PORT: Final = b"\0\x35"
_IPV4_KEY_OCTETS: Final = 12
_TAGS: Final = frozenset((b"\x81\x00", b"\x88\xa8", b"\x91\x00"))
_IPV4_WITHOUT_OPTIONS: Final = b"\x08\x00\x45"
_IPV6: Final = b"\x86\xdd"
_NOT_FRAGMENTED: Final = frozenset((b"\x00\x00", b"\x40\x00"))
_TCP: Final = 6
_UDP: Final = 17
_FIN_SYN_RST: Final = 0x07
_IPV4_FLAGS_AT: Final = 47
_IPV6_FLAGS_AT: Final = 67
_ETHERNET: Final = int(LinkType.ETHERNET)
_TRANSPORT_TCP: Final = Transport.TCP
_SECOND_CHANCES: Final = 8
_EXPIRED_AT_ONCE: Final = 2

_pack_ports: Final = struct.Struct(">HH").pack
_read_ports: Final = struct.Struct(">HH").unpack


class Side:
    """What one side sent, as far as its head is being read."""

    __slots__ = (
        "dns_seen",
        "facts",
        "facts_octets",
        "has_closed",
        "has_reset",
        "has_sent",
        "is_read",
        "payload_octets",
        "quic",
        "stream",
    )

    def __init__(self) -> None:
        self.stream: StreamHead | None = None
        self.quic: QuicInitialReader | None = None
        self.facts: StreamFacts = NOTHING_READ
        self.facts_octets = 0  # what `facts` take
        self.payload_octets = 0  # on the wire, retransmissions included
        self.dns_seen = 0  # how many of `facts.dns` were handed on
        self.has_sent = False  # anything but a SYN of its own accord
        self.has_closed = False  # sent FIN
        self.has_reset = False  # sent RST before the other side closed
        self.is_read = False  # its content has nothing more to say

    @property
    def held_octets(self) -> int:
        """Return how much memory what the side sent takes, and what was read from it."""
        if self.quic is not None:
            return self.facts_octets + self.quic.held_octets
        return self.facts_octets + (self.stream.held_octets if self.stream is not None else 0)

    def learn(self, facts: StreamFacts) -> None:
        """Note what was read."""
        self.facts = facts
        self.facts_octets = facts.held_octets


class FlowHead:
    """What is kept of a flow while its beginning is being read."""

    __slots__ = (
        "closed_ns",
        "first_payload_ns",
        "held_octets",
        "interface",
        "is_overdue",
        "is_settled",
        "may_be_quiet",
        "opener",
        "reported",
        "revision",
        "sides",
        "unreachable",
    )

    def __init__(self, interface: str) -> None:
        self.interface = interface
        self.sides = (Side(), Side())
        self.opener: int | None = None  # the side whose SYN began it
        self.first_payload_ns: int | None = None
        self.closed_ns: int | None = None
        self.held_octets = 0
        self.may_be_quiet = True  # False on a DNS port: another question may come at any time
        self.is_settled = False  # what was not recognised by now is reported as it is
        self.is_overdue = False  # the SYN has had its time to be answered
        self.unreachable: int | None = None  # the side whose packets are not delivered
        self.revision = 0
        self.reported: Report | None = None


class Count(NamedTuple):
    """What was counted of packets that are not handed out; the source of `key` sent `octets_0`."""

    key: FlowKey
    octets_0: int
    octets_1: int
    packets: int
    last_ns: int


class Apart(NamedTuple):
    """What the kernel counted of a flow in all, by side; it holds what user space counted, too.

    `opened_ns` is when the table's entry was made and `before` what earlier entries held; `unsure_ns` is the time of
    an entry that may be another flow's.
    """

    octets_0: int = 0
    octets_1: int = 0
    packets: int = 0
    opened_ns: int = 0
    before: tuple[int, int, int] = (0, 0, 0)
    unsure_ns: int = 0


NOTHING_APART: Final = Apart()


class Flow:
    """A flow; `head` is None once its beginning has been read and reported."""

    __slots__ = (
        "apart",
        "closed",
        "first_ns",
        "has_left",
        "head",
        "isn",
        "key",
        "last_ns",
        "number",
        "octets_0",
        "octets_1",
        "packets",
        "queued_ns",
        "quiet",
    )

    def __init__(self, key: FlowKey, number: int, first_ns: int, head: FlowHead | None) -> None:
        self.key = key
        self.number = number
        self.first_ns = first_ns
        self.last_ns = first_ns
        self.queued_ns = first_ns
        self.head = head
        self.isn: int | None = None  # the initiator's initial sequence number
        self.quiet = 0  # bit 0 for side 0, bit 1 for side 1
        self.octets_0 = 0  # on the wire
        self.octets_1 = 0
        self.packets = 0
        self.closed = 0  # sides that closed it, bits as in `quiet`
        self.apart = NOTHING_APART
        self.has_left = False  # the table: what comes now is of another flow

    def count(self, side: int, ts_ns: int, wire_octets: int) -> None:
        """Note a packet that `side` sent."""
        self.last_ns = ts_ns
        self.packets += 1
        if side == 0:
            self.octets_0 += wire_octets
        else:
            self.octets_1 += wire_octets

    def add(self, counted: Count, side: int) -> None:
        """Note packets that were counted elsewhere; `side` is the one that `counted` begins with."""
        octets = (counted.octets_0, counted.octets_1)
        self.octets_0 += octets[side]
        self.octets_1 += octets[1 - side]
        self.packets += counted.packets
        self.last_ns = max(self.last_ns, counted.last_ns)

    def traffic(self, initiator: int) -> Traffic:
        """Return what it has carried, seen from side `initiator`."""
        apart = self.apart
        octets = max(self.octets_0, apart.octets_0), max(self.octets_1, apart.octets_1)
        packets = max(self.packets, apart.packets)
        return Traffic(octets[initiator], octets[1 - initiator], packets, self.last_ns)

    @property
    def transport(self) -> Transport:
        """Return the transport protocol."""
        return Transport.UDP if len(self.key) & 1 else Transport.TCP

    def five_tuple(self, initiator: int) -> FiveTuple:
        """Return the five-tuple from side `initiator` to the other."""
        octets = 4 if len(self.key) <= _IPV4_KEY_OCTETS + 1 else 16
        key = self.key if initiator == 0 else reverse_key(self.key)
        src_port, dst_port = _read_ports(key[2 * octets : 2 * octets + 4])
        return FiveTuple(self.transport, key[:octets], src_port, key[octets : 2 * octets], dst_port)


def flow_key(transport: Transport, src: bytes, src_port: int, dst: bytes, dst_port: int) -> FlowKey:
    """Return the key of packets in this direction."""
    key = src + dst + _pack_ports(src_port, dst_port)
    return key if transport is _TRANSPORT_TCP else key + _UDP_MARK


def reverse_key(key: FlowKey) -> FlowKey:
    """Return the key of packets in the other direction."""
    if len(key) == _IPV4_KEY_OCTETS:  # by far the most frequent
        return key[4:8] + key[:4] + key[10:] + key[8:10]
    octets = 4 if len(key) <= _IPV4_KEY_OCTETS + 1 else 16
    ports = 2 * octets
    return key[octets:ports] + key[:octets] + key[ports + 2 : ports + 4] + key[ports : ports + 2] + key[ports + 4 :]


class FlowTable:
    """At most `limit` flows; when full, one unused for long makes room (second chance) and is counted in `evicted`."""

    def __init__(self, limit: int = 49_152) -> None:
        self.evicted = 0
        self._limit = limit
        self._flows: OrderedDict[FlowKey, Flow] = OrderedDict()

    def __len__(self) -> int:
        return len(self._flows)

    def __iter__(self) -> Iterator[Flow]:
        return iter(self._flows.values())

    def find(self, key: FlowKey) -> tuple[Flow, int] | None:
        """Return the flow of a packet with `key`, and which side sent it."""
        flow = self._flows.get(key)
        if flow is not None:
            return flow, 0
        flow = self._flows.get(reverse_key(key))
        return (flow, 1) if flow is not None else None

    def insert(self, flow: Flow) -> list[Flow]:
        """Put `flow` into the table and return those that leave it: idle ones, or one to make room."""
        leaving = self._pop_idle(flow.first_ns)
        if len(self._flows) >= self._limit:
            leaving.append(self._pop_unused())
            self.evicted += 1
        self._flows[flow.key] = flow
        return leaving

    def remove(self, flow: Flow) -> None:
        """Take `flow` out of the table if it is there."""
        if self._flows.get(flow.key) is flow:
            del self._flows[flow.key]

    def clear(self) -> list[Flow]:
        """Take all flows out of the table and return them."""
        flows = list(self._flows.values())
        self._flows.clear()
        return flows

    def count_quiet(self, packet: Packet) -> bool:
        """Return whether `packet` belongs to a quiet side, and count it there if so; False decides nothing."""
        if packet.link_type != _ETHERNET:
            return False
        data = packet.data
        kind = data[12:15]
        if kind[:2] in _TAGS:
            data = _without_tags(data)
            kind = data[12:15]
        if kind == _IPV4_WITHOUT_OPTIONS and len(data) > _IPV4_FLAGS_AT and data[20:22] in _NOT_FRAGMENTED:
            protocol, flags, key = data[23], data[_IPV4_FLAGS_AT], data[26:38]
        elif kind[:2] == _IPV6 and len(data) > _IPV6_FLAGS_AT:
            protocol, flags, key = data[20], data[_IPV6_FLAGS_AT], data[22:58]
        else:
            return False
        if protocol == _UDP:
            if _DNS_PORT in (key[-4:-2], key[-2:]):  # never quiet: another question may come at any time
                return False
            key += _UDP_MARK
        elif protocol != _TCP or flags & _FIN_SYN_RST:
            return False
        return self.count(key, packet)

    def count(self, key: FlowKey, packet: Packet) -> bool:
        """Return whether `packet`, with `key`, belongs to a quiet side, and count it there if so."""
        flow = self._flows.get(key)
        if flow is not None:
            if not flow.quiet & 1:
                return False
            flow.octets_0 += packet.wire_octets
        else:
            flow = self._flows.get(reverse_key(key))
            if flow is None or not flow.quiet & 2:
                return False
            flow.octets_1 += packet.wire_octets
        ts_ns = packet.ts_ns
        if ts_ns - flow.last_ns > UDP_IDLE_NS and is_idle(flow, ts_ns):
            return False
        flow.last_ns = ts_ns
        flow.packets += 1
        return True

    def _pop_idle(self, now_ns: int) -> list[Flow]:
        popped: list[Flow] = []
        for _ in range(min(_EXPIRED_AT_ONCE, len(self._flows))):
            oldest = next(iter(self._flows.values()))
            if is_idle(oldest, now_ns):
                popped.append(oldest)
                del self._flows[oldest.key]
            elif oldest.last_ns != oldest.queued_ns:
                self._requeue(oldest)
        return popped

    def _pop_unused(self) -> Flow:
        for _ in range(_SECOND_CHANCES):
            oldest = next(iter(self._flows.values()))
            if oldest.last_ns == oldest.queued_ns:
                break
            self._requeue(oldest)
        return self._flows.popitem(last=False)[1]

    def _requeue(self, flow: Flow) -> None:
        flow.queued_ns = flow.last_ns
        self._flows.move_to_end(flow.key)


def is_idle(flow: Flow, now_ns: int) -> bool:
    """Tell whether the next packet of this five-tuple begins another flow."""
    return now_ns - flow.last_ns > (UDP_IDLE_NS if len(flow.key) & 1 else TCP_IDLE_NS)


def is_over(flow: Flow, now_ns: int) -> bool:
    """Tell whether nothing more is to be expected of the flow: it was closed a while ago, or has been idle for long."""
    return flow.has_left or (flow.closed == BOTH and now_ns - flow.last_ns >= SETTLE_NS) or is_idle(flow, now_ns)


def _without_tags(data: bytes) -> bytes:
    """Return the frame without its VLAN tags, two at most."""
    data = data[:12] + data[16:]
    return data[:12] + data[16:] if data[12:14] in _TAGS else data
