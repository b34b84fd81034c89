"""The flow-head policy once more, written to be read: what `_heads.c` is compared with."""

import struct
from dataclasses import dataclass, field

from sensor.capture.heads import (
    CLOCK_STEP_NS,
    FRAGMENT_HEAD_OCTETS,
    OTHER_HEAD_OCTETS,
    QUIC_HEAD_OCTETS,
    TCP_HEAD_OCTETS,
    TCP_IDLE_NS,
    UDP_HEAD_OCTETS,
    UDP_IDLE_NS,
)

TAGS = (0x8100, 0x88A8, 0x9100)
EXTENSIONS = (0, 43, 44, 51, 60)
DNS_PORTS = {53, 5353, 5355}
MOST_COUNTED = 65535
Ends = tuple[int, bytes, int, bytes, int]


class Doubt(Exception):
    """Not for this policy to decide: the packet passes."""


@dataclass
class Budget:
    last_ns: int
    spent: dict[bool, int] = field(default_factory=lambda: {False: 0, True: 0})
    has_sent: dict[bool, bool] = field(default_factory=lambda: {False: False, True: False})


class HeadPolicy:
    """`passes` for one packet after the other; the table has no bound."""

    def __init__(self) -> None:
        self.now_ns = 0
        self.flows: dict[frozenset[tuple[bytes, int]] | tuple[object, ...], Budget] = {}

    def passes(self, ts_ns: int, data: bytes, wire: int) -> bool:
        if ts_ns < self.now_ns - CLOCK_STEP_NS:
            self.flows.clear()
            self.now_ns = ts_ns
        self.now_ns = max(self.now_ns, ts_ns)
        try:
            return self._ethernet(data, wire)
        except (Doubt, struct.error):  # struct.error: a header is cut
            return True

    def _ethernet(self, data: bytes, wire: int) -> bool:
        at = 14
        (kind,) = struct.unpack_from(">H", data, 12)
        for _ in range(4):
            if kind in TAGS:
                (kind,) = struct.unpack_from(">2xH", data, at)
                at += 4
        if kind == 0x0800:
            return self._ipv4(data, at, wire)
        if kind == 0x86DD:
            return self._ipv6(data, at, wire)
        raise Doubt

    def _ipv4(self, data: bytes, at: int, wire: int) -> bool:
        first, total, fragment, protocol, src, dst = struct.unpack_from(">BxHxxHxBxx4s4s", data, at)
        header = (first & 15) * 4
        if first >> 4 != 4 or header < 20 or (total and total < header):
            raise Doubt
        if fragment & 0x3FFF:
            return (fragment & 0x1FFF) * 8 < FRAGMENT_HEAD_OCTETS
        return self._transport(protocol, (src, dst), data, (at + header, at + total if total else wire), wire)

    def _ipv6(self, data: bytes, at: int, wire: int) -> bool:
        word, length, protocol, src, dst = struct.unpack_from(">IHBx16s16s", data, at)
        if word >> 28 != 6:
            raise Doubt
        at += 40
        end = at + length if length else wire
        for _ in range(8):
            if protocol not in EXTENSIONS:
                return self._transport(protocol, (src, dst), data, (at, end), wire)
            following, octets, fragment = struct.unpack_from(">BBH4x", data, at)
            if at + 8 > end:
                raise Doubt
            if protocol == 44 and fragment & 0xFFF9:
                return (fragment & 0xFFF8) < FRAGMENT_HEAD_OCTETS
            at += {44: 8, 51: (octets + 2) * 4}.get(protocol, (octets + 1) * 8)
            protocol = following
        raise Doubt

    def _transport(
        self, protocol: int, ends: tuple[bytes, bytes], data: bytes, span: tuple[int, int], wire: int
    ) -> bool:
        at, end = span
        if end < at or (end > len(data) and wire <= len(data)):
            raise Doubt
        if protocol == 6:
            return self._tcp(ends, data, at, end)
        if protocol == 17:
            return self._udp(ends, data, at, end)
        if protocol in (1, 58):
            return data[at : at + 1] in (b"", bytes((3 if protocol == 1 else 1,)))
        budget, side = self._budget((protocol, ends[0], 0, ends[1], 0), UDP_IDLE_NS)
        return spend(budget, side, end - at, OTHER_HEAD_OCTETS)

    def _tcp(self, ends: tuple[bytes, bytes], data: bytes, at: int, end: int) -> bool:
        src_port, dst_port, offset, flags = struct.unpack_from(">HH8xBB6x", data, at)
        payload = end - at - (offset >> 4) * 4
        if offset >> 4 < 5 or payload < 0 or at + 20 > end:
            raise Doubt
        budget, side = self._budget((6, ends[0], src_port, ends[1], dst_port), TCP_IDLE_NS)
        is_syn = flags & 0x12 == 2
        if is_syn:
            budget.spent = {False: 0, True: 0}
            budget.has_sent = {False: False, True: False}
        has_sent, budget.has_sent[side] = budget.has_sent[side], not is_syn
        has_room = spend(budget, side, payload, TCP_HEAD_OCTETS)
        return bool(flags & 7) or (has_room if payload else not has_sent)

    def _udp(self, ends: tuple[bytes, bytes], data: bytes, at: int, end: int) -> bool:
        src_port, dst_port, length = struct.unpack_from(">HHH2x", data, at)
        if at + 8 > end or 0 < length < 8 or at + length > end:
            raise Doubt
        payload = data[at + 8 :]
        is_question = len(payload) >= 17 and payload[4:6] == b"\0\1" and not payload[2] & 0x78 and payload[6] <= 2
        if {src_port, dst_port} & DNS_PORTS or is_question:
            return True
        octets = length - 8 if length else end - at - 8
        budget, side = self._budget((17, ends[0], src_port, ends[1], dst_port), UDP_IDLE_NS)
        is_quic = bool(payload) and payload[0] & 0xC0 == 0xC0
        return spend(budget, side, octets, QUIC_HEAD_OCTETS if is_quic else UDP_HEAD_OCTETS)

    def _budget(self, ends: Ends, idle_ns: int) -> tuple[Budget, bool]:
        protocol, src, src_port, dst, dst_port = ends
        sender, receiver = (src, src_port), (dst, dst_port)
        key = (protocol, *sorted((sender, receiver)))
        budget = self.flows.get(key)
        if budget is None or self.now_ns - budget.last_ns > idle_ns:
            budget = self.flows[key] = Budget(self.now_ns)
        budget.last_ns = self.now_ns
        return budget, sender > receiver


def spend(budget: Budget, side: bool, octets: int, limit: int) -> bool:
    has_room = budget.spent[side] < limit
    budget.spent[side] = min(MOST_COUNTED, budget.spent[side] + octets)
    return has_room
