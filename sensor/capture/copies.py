"""Each packet once, where a sensor listens on several interfaces that carry the same packets.

* A packet that is forwarded without a change of address, crosses a bridge and its port, or both ends of a veth pair,
  shows with one five-tuple on each. Each direction of a five-tuple therefore belongs to the interface on which it was
  seen first: the inner one of a gateway for what leaves, the outer one for what comes, and different ones where routes
  are asymmetric. What another interface shows of it is a copy, unless the first was silent for `MOVED_NS`: then the
  route changed.
* Where the source address is translated on the way (masquerading), the copy has a five-tuple of its own. It is known by
  what a translation leaves alone: the destination with TCP's sequence number, or with the beginning of a datagram,
  which in DNS holds id and name. The five-tuple that comes second in time is the translated one and is left out in
  both directions.

Sans-I/O; packets are to come in the order of time (sensor.capture.merge). Not told apart from copies: two flows with
the same five-tuple in two places at the same time, and what different addresses behind different interfaces send to one
destination within `TRANSLATED_NS` with the same mark (a datagram that begins alike; a constant sequence number). Not
told to be copies: flows whose destination address or sequence numbers are changed on the way, and translated ones that
were under way when their first packets were seen.

Cost: some 3 us a packet, of several interfaces only.
"""

from collections import OrderedDict

import msgspec

from rules.values.observation import Transport
from sensor.capture.faults import Faults
from sensor.decoding.decode import Datagram, Decoded, Fragment, Segment, TcpFlag, decode, read_plain
from sensor.errors import MalformedInput, NeedMoreData
from sensor.flows.flow import TCP_IDLE_NS, UDP_IDLE_NS, FlowKey, flow_key, reverse_key
from sensor.packet import Packet

MOVED_NS = 1_000_000_000
TRANSLATED_NS = 1_000_000_000
RENEWED_NS = 10_000_000_000  # less than any gateway's time-out of a translation
MIN_OCTETS = 12  # of a datagram, to be told from others: a DNS header
MARK_OCTETS = 64

_NO_INTERFACE = None  # of a direction that is left out


class _Direction(msgspec.Struct, gc=False):
    """Where the packets of one direction of a five-tuple are taken from; `start` is the first sequence number."""

    interface: str | None
    last_ns: int
    start: int


class Copies:
    """Tells copies; at most `directions` are followed and `marks` remembered, both oldest out.

    `found` counts copies, `evicted` the directions that made room, and the marks that did while a copy might have come;
    `faults` are packets that an error kept it from telling.
    """

    def __init__(self, directions: int = 32_768, marks: int = 8192, faults: Faults | None = None) -> None:
        self.found = 0
        self.evicted = 0
        self.faults = faults if faults is not None else Faults()
        self._limits = directions, marks
        self._directions: OrderedDict[FlowKey, _Direction] = OrderedDict()  # the longest unused first
        self._marks: OrderedDict[bytes, tuple[str, int]] = OrderedDict()  # where and when first; the oldest first

    def __len__(self) -> int:
        return len(self._directions)

    def leave_out(self, packets: list[Packet]) -> list[Packet]:
        """Return those of `packets` that are no copies."""
        kept = [packet for packet in packets if not self.is_copy(packet)]
        self.found += len(packets) - len(kept)
        return kept

    def is_copy(self, packet: Packet) -> bool:
        """Tell whether `packet` was, or will be, seen on another interface; damaged ones and other news never are."""
        try:
            return self._is_copied(read_plain(packet) or decode(packet), packet)
        except (MalformedInput, NeedMoreData):
            return False
        except Exception as error:  # noqa: BLE001 - a loop over packets: counted and said (`Faults`), it goes on
            self.faults.note(error, packet.data)
            return False

    def interface_of(self, key: FlowKey) -> str | None:
        """Return the interface that a direction is taken from; empty if it is not known, None if it is left out."""
        direction = self._directions.get(key)
        return direction.interface if direction is not None else ""

    def _is_copied(self, decoded: Decoded | None, packet: Packet) -> bool:
        if isinstance(decoded, Segment):
            return self._is_copied_segment(decoded, packet)
        if isinstance(decoded, Datagram):
            return self._is_copied_datagram(decoded, packet)
        return isinstance(decoded, Fragment) and self._is_copied_fragment(decoded, packet)

    def _is_copied_segment(self, segment: Segment, packet: Packet) -> bool:
        key = segment.key
        direction = self._find(key, packet.ts_ns, TCP_IDLE_NS)
        begins = segment.flags & (TcpFlag.SYN | TcpFlag.ACK) == TcpFlag.SYN
        if direction is not None and not (begins and segment.seq != direction.start):
            return _is_elsewhere(direction, packet)
        if begins:
            self._directions.pop(reverse_key(key), None)
        mark = _destination(segment) + segment.seq.to_bytes(4, "big")
        return self._begin(key, mark, packet, segment.seq)

    def _is_copied_datagram(self, datagram: Datagram, packet: Packet) -> bool:
        key = flow_key(Transport.UDP, *datagram.ends)
        direction = self._find(key, packet.ts_ns, UDP_IDLE_NS)
        has_mark = len(datagram.payload) >= MIN_OCTETS
        mark = _destination(datagram) + b"u" + datagram.payload[:MARK_OCTETS] if has_mark else b""
        if direction is None:
            return self._begin(key, mark, packet, 0)
        if has_mark and packet.ts_ns - direction.last_ns > RENEWED_NS and direction.interface == packet.interface:
            self._remember(mark, packet)  # the gateway may translate it anew
        return _is_elsewhere(direction, packet)

    def _is_copied_fragment(self, fragment: Fragment, packet: Packet) -> bool:
        key = fragment.src + fragment.dst + fragment.identification.to_bytes(4, "big") + bytes((fragment.protocol,))
        direction = self._find(key, packet.ts_ns, MOVED_NS)
        return self._begin(key, b"", packet, 0) if direction is None else _is_elsewhere(direction, packet)

    def _find(self, key: FlowKey, now_ns: int, idle_ns: int) -> _Direction | None:
        direction = self._directions.get(key)
        if direction is None or now_ns - direction.last_ns > idle_ns:
            return None
        self._directions.move_to_end(key)
        return direction

    def _begin(self, key: FlowKey, mark: bytes, packet: Packet, start: int) -> bool:
        """Take a direction from where it shows first, unless it is the translation of another; tell whether it is."""
        interface, first_ns = self._marks.get(mark, (packet.interface, 0))
        if interface == packet.interface or packet.ts_ns - first_ns > TRANSLATED_NS:
            if mark:
                self._remember(mark, packet)
            self._keep(key, _Direction(packet.interface, packet.ts_ns, start))
            return False
        left_out = _Direction(_NO_INTERFACE, packet.ts_ns, start)
        self._keep(key, left_out)
        self._keep(reverse_key(key), left_out)
        return True

    def _keep(self, key: FlowKey, direction: _Direction) -> None:
        self._directions[key] = direction
        self._directions.move_to_end(key)
        if len(self._directions) > self._limits[0]:
            self._directions.popitem(last=False)
            self.evicted += 1

    def _remember(self, mark: bytes, packet: Packet) -> None:
        self._marks[mark] = packet.interface, packet.ts_ns
        self._marks.move_to_end(mark)
        if len(self._marks) > self._limits[1]:
            _, (_, first_ns) = self._marks.popitem(last=False)
            self.evicted += packet.ts_ns - first_ns <= TRANSLATED_NS


def _is_elsewhere(direction: _Direction, packet: Packet) -> bool:
    """Tell whether `packet` is a copy of one that another interface shows; if not, note that its own is alive."""
    interface = direction.interface
    if interface is not _NO_INTERFACE and interface != packet.interface:
        if packet.ts_ns - direction.last_ns <= MOVED_NS:
            return True
        direction.interface = packet.interface
    direction.last_ns = packet.ts_ns
    return interface is _NO_INTERFACE


def _destination(decoded: Segment | Datagram) -> bytes:
    _, _, dst, dst_port = decoded.ends
    return dst + dst_port.to_bytes(2, "big")
