"""The flow-head policy once more, in Python: what bpf/flow_policy.h is compared with, in the kernel and over files."""

import struct
from dataclasses import dataclass, field

from sensor.capture.filter.flow_table import CLOCK_STEP_NS
from sensor.capture.filter.limits import Limits

TAGS = (0x8100, 0x88A8, 0x9100)
EXTENSIONS = (0, 43, 44, 51, 60)
DNS_PORTS = {53, 5353, 5355}
DHCP_SERVER_PORT = 67
PPP = {0x0021: 0x0800, 0x0057: 0x86DD}
MOST_SPENT = 65535
FIN, SYN, RST, ACK = 1, 2, 4, 16
WHOLE = 0x40000
Ends = tuple[int, bytes, int, bytes, int]


class Doubt(Exception):
    """Not for this policy to decide: the packet passes."""


class NotIp(Doubt):
    """Nor for anyone else: the kernel keeps it back, over a file it passes to be counted."""


@dataclass
class Head:
    start: int | None = None
    spent: int = 0
    packets: int = 0

    def spend(self, octets: int) -> int:
        before, self.spent = self.spent, min(MOST_SPENT, self.spent + octets)
        return before

    def begin(self, start: int) -> None:
        self.start, self.spent = start & 0xFFFFFFFF, 0


@dataclass
class Flow:
    last_ns: int
    heads: tuple[Head, Head] = field(default_factory=lambda: (Head(), Head()))


class HeadPolicy:
    """Judges one packet after the other; the table has no bound."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.limits = limits if limits is not None else Limits()
        self.now_ns = 0
        self.flows: dict[tuple[object, ...], Flow] = {}

    def octets(self, ts_ns: int, data: bytes, wire: int) -> int | None:
        """How many octets pass, None if it is not IP."""
        if ts_ns < self.now_ns - CLOCK_STEP_NS:
            self.flows.clear()
            self.now_ns = ts_ns
        self.now_ns = max(self.now_ns, ts_ns)
        try:
            return min(len(data), self._ethernet(data, wire))
        except NotIp:
            return None
        except (Doubt, struct.error):  # struct.error: a header is cut
            return len(data)

    def _ethernet(self, data: bytes, wire: int) -> int:
        at = 14
        try:
            (kind,) = struct.unpack_from(">H", data, 12)
            for _ in range(4):
                if kind in TAGS:
                    (kind,) = struct.unpack_from(">2xH", data, at)
                    at += 4
            if kind == 0x8864:
                kind = PPP.get(struct.unpack_from(">6xH", data, at)[0], 0)
                at += 8
        except struct.error:
            raise NotIp from None
        if kind == 0x0800:
            return self._ipv4(data, at, wire)
        if kind == 0x86DD:
            return self._ipv6(data, at, wire)
        raise NotIp

    def _ipv4(self, data: bytes, at: int, wire: int) -> int:
        first, total, fragment, protocol, src, dst = struct.unpack_from(">BxHxxHxBxx4s4s", data, at)
        header = (first & 15) * 4
        if first >> 4 != 4 or header < 20:
            raise Doubt
        if fragment & 0x3FFF:
            return self._fragment((fragment & 0x1FFF) * 8)
        return self._transport(protocol, (src, dst), data, (at + header, at + total if total else wire), wire)

    def _ipv6(self, data: bytes, at: int, wire: int) -> int:
        word, length, protocol, src, dst = struct.unpack_from(">IHBx16s16s", data, at)
        if word >> 28 != 6:
            raise Doubt
        at += 40
        end = at + length if length else wire
        for _ in range(8):
            if protocol not in EXTENSIONS:
                break
            following, octets, fragment = struct.unpack_from(">BBH4x", data, at)
            if at + 8 > end:
                raise Doubt
            if protocol == 44 and fragment & 0xFFF9:
                return self._fragment(fragment & 0xFFF8)
            at += {44: 8, 51: (octets + 2) * 4}.get(protocol, (octets + 1) * 8)
            protocol = following
        if protocol in EXTENSIONS:
            raise Doubt
        return self._transport(protocol, (src, dst), data, (at, end), wire)

    def _transport(
        self, protocol: int, ends: tuple[bytes, bytes], data: bytes, span: tuple[int, int], wire: int
    ) -> int:
        at, end = span
        if end < at or end > wire:
            raise Doubt
        if protocol == 6:
            return self._tcp(ends, data, at, end)
        if protocol == 17:
            return self._udp(ends, data, at, end)
        if protocol in (1, 58) and data[at : at + 1] in (b"", bytes((3 if protocol == 1 else 1,))):
            return WHOLE
        _, head = self._follow((protocol, ends[0], 0, ends[1], 0), self.limits.udp_idle_ns)
        return at + self.limits.other_octets if head.spend(end - at) < self.limits.other_octets else 0

    def _fragment(self, offset: int) -> int:
        return WHOLE if offset < self.limits.fragment_octets else 0

    def _tcp(self, ends: tuple[bytes, bytes], data: bytes, at: int, end: int) -> int:
        src_port, dst_port, seq, offset, flags = struct.unpack_from(">HHI4xBB6x", data, at)
        body = at + (offset >> 4) * 4
        if offset >> 4 < 5 or body > end or at + 20 > end:
            raise Doubt
        five = (6, ends[0], src_port, ends[1], dst_port)
        flow, head = self._follow(five, self.limits.tcp_idle_ns)
        is_other = flags & SYN and head.start != (seq + 1) & 0xFFFFFFFF
        if is_other and not flags & ACK:
            flow.heads = (Head(), Head())
            head = flow.heads[is_high(five)]
        if is_other:
            head.begin(seq + 1)
        is_head = self._is_head_segment(head, seq, flags, end - body) or bool({src_port, dst_port} & DNS_PORTS)
        return body + self.limits.tcp_octets if is_head else 0

    def _is_head_segment(self, head: Head, seq: int, flags: int, payload: int) -> bool:
        head.packets += 1
        if flags & (SYN | FIN | RST):
            return True
        if not payload:
            return head.packets <= self.limits.opening_packets
        if head.start is None:
            head.begin(seq)
        offset = ((seq - (head.start or 0) + 2**31) & 0xFFFFFFFF) - 2**31
        if abs(offset) >= self.limits.tcp_octets or head.spent >= self.limits.tcp_passed_octets:
            return False
        head.spend(min(payload, self.limits.tcp_octets))
        return True

    def _udp(self, ends: tuple[bytes, bytes], data: bytes, at: int, end: int) -> int:
        src_port, dst_port, length = struct.unpack_from(">HHH2x", data, at)
        if at + 8 > end or 0 < length < 8 or at + length > end:
            raise Doubt
        if {src_port, dst_port} & {*DNS_PORTS, DHCP_SERVER_PORT}:
            return WHOLE
        _, head = self._follow((17, ends[0], src_port, ends[1], dst_port), self.limits.udp_idle_ns)
        payload = data[at + 8 :]
        if end == at + 8:
            return 0
        is_quic = payload[:1] >= b"\xc0"
        has_room = head.spend(end - at - 8) < (self.limits.quic_octets if is_quic else self.limits.udp_octets)
        return WHOLE if has_room or (end - at - 8 >= 17 and is_like_dns(payload)) else 0

    def _follow(self, ends: Ends, idle_ns: int) -> tuple[Flow, Head]:
        protocol, src, src_port, dst, dst_port = ends
        key = (protocol, *sorted(((src, src_port), (dst, dst_port))))
        flow = self.flows.get(key)
        if flow is None or self.now_ns - flow.last_ns > idle_ns:
            flow = self.flows[key] = Flow(self.now_ns)
        flow.last_ns = self.now_ns
        return flow, flow.heads[is_high(ends)]


def is_high(ends: Ends) -> bool:
    _, src, src_port, dst, dst_port = ends
    return (src, src_port) > (dst, dst_port)


def is_like_dns(payload: bytes) -> bool:
    if len(payload) < 12:
        return False
    _, flags, questions, *counts = struct.unpack_from(">6H", payload)
    if questions != 1 or counts[0] | counts[1] | counts[2] >= 0x400:
        return False
    return not flags & 0x7840 if flags & 0x8000 else not flags & ~0x0130
