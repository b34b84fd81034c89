"""Flows from segments and datagrams: who began them, what their heads say, and when to report it.

Only packet time counts. A flow has at most three alarms: `SETTLE_NS` after its first packet, after its first payload
and after its end. What is recognised is reported at once; what is not waits for an alarm, so that neither a segment nor
a DNS answer that comes late changes the report.
"""

from collections import OrderedDict
from collections.abc import Callable
from heapq import heapify, heappop, heappush
from typing import Final

from rules.values.observation import FiveTuple, Observation, Transport
from sensor.correlate import ToldNames
from sensor.counters import Counters
from sensor.decode import Datagram, Segment, TcpFlag, Unreachable
from sensor.errors import MalformedQuic
from sensor.extract.dns import DnsMessage
from sensor.flow import BOTH, NEVER_NS, SETTLE_NS, Flow, FlowHead, FlowKey, FlowTable, flow_key, is_idle
from sensor.flow_report import find_initiator, needs_reply, observe
from sensor.half_open import HalfOpen, HalfOpenRow, HalfOpenTable, ends_of, is_refused, opened
from sensor.kept_packets import KeptPackets
from sensor.packet import Packet
from sensor.reassembly import HEAD_OCTETS, sequence_distance
from sensor.side_reading import forget_dns, read_rest, start_stream, take_datagram, take_segment

FLOW_HEAD_OCTETS: Final = 1024  # what a flow takes while its head is being read, besides what it sent
# As plain integers, here and below: an enumeration's members cost a multiple.
_FIN: Final = int(TcpFlag.FIN)
_SYN: Final = int(TcpFlag.SYN)
_RST: Final = int(TcpFlag.RST)
_ACK: Final = int(TcpFlag.ACK)
_SYN_FIN_RST: Final = _SYN | _FIN | _RST
_FIN_RST: Final = _FIN | _RST
_SYN_RST_ACK: Final = _SYN | _RST | _ACK
_NOT_FIRST: Final = _ACK | _FIN | _RST
_UDP: Final = Transport.UDP
_MAX_ALARMS: Final = 3  # a flow
_ALARM_SLACK: Final = 16_384  # alarms of heads that are gone, before they are cleared away
_REPORTED: Final = 4096  # flows whose last report can still be asked about
_RETRANSMISSION_NS: Final = 900_000_000  # the initial timeout is 1 s (RFC 6298 section 2)

DnsSink = Callable[[DnsMessage, FiveTuple, int, str], list[Observation]]


class FlowReader:
    """The flows in `table`; heads take at most `head_octets` in all, beyond that the oldest is read as it is.

    Flows of which only a SYN was seen wait in `half_open`; packets whose content is read are put into `kept`.
    `on_dns` takes the messages of DNS over TCP: message, five-tuple from client to server, time, interface.
    """

    def __init__(
        self,
        table: FlowTable,
        told_names: ToldNames,
        counters: Counters,
        next_key: Callable[[], int],
        *,
        on_dns: DnsSink,
        head_octets: int,
        half_open: HalfOpenTable,
        kept: KeptPackets,
    ) -> None:
        self._table = table
        self._half_open = half_open
        self._kept = kept
        self._told_names = told_names
        self._counters = counters
        self._next_key = next_key
        self._on_dns = on_dns
        self._head_octets = head_octets
        self._held_octets = 0
        self._heads: OrderedDict[int, Flow] = OrderedDict()  # flows with a head by number, the oldest first
        self._alarms: list[tuple[int, int]] = []  # a heap of time and flow number
        self._reported: OrderedDict[int, Flow] = OrderedDict()

    @property
    def due_ns(self) -> int:
        """Return when the next alarm is due."""
        alarm_ns = self._alarms[0][0] if self._alarms else NEVER_NS
        syn_ns = self._half_open.first_ns + SETTLE_NS
        return syn_ns if syn_ns < alarm_ns else alarm_ns  # noqa: FURB136 - min() makes objects of both

    def flow(self, number: int) -> Flow | None:
        """Return a flow that was just reported; the last 4096 are known."""
        return self._reported.get(number)

    def read_segment(self, segment: Segment, packet: Packet) -> list[Observation]:
        """Return what the segment makes known."""
        key = segment.key
        observations: list[Observation] = []
        found = self._table.find(key) or self._open_half(key, observations)
        if found is not None and self._begins_another(found[0], found[1], segment):
            observations += self._leave(found[0], segment.ts_ns)
            found = None
        if found is None:
            if not segment.wire_payload_octets:
                if not segment.flags & _SYN:
                    return observations
                if not segment.flags & _NOT_FIRST:
                    return observations + self._begin_half(key, segment, packet)
            flow, begun = self._begin(key, segment.ts_ns, packet.interface)
            found = flow, 0
            observations += begun
        flow, side = found
        flow.count(side, segment.ts_ns, packet.wire_octets)
        if segment.flags & _FIN_RST:
            flow.closed |= BOTH if segment.flags & _RST else 1 << side
        head = flow.head
        is_dropped = not segment.flags & _SYN_RST_ACK  # by its receiver (RFC 9293 section 3.10.7.4)
        if head is None or is_dropped or (segment.flags & _SYN and is_refused(flow, side, segment)):
            return observations
        if segment.flags & _SYN_FIN_RST or (segment.wire_payload_octets and not flow.quiet >> side & 1):
            self._kept.add(flow.number, packet)
            return observations + self._read_head(flow, head, side, segment)
        if head.is_overdue and not head.sides[side].has_sent:  # else an acknowledgement alone changes no report
            return observations + self._read_head(flow, head, side, segment)
        head.sides[side].has_sent = True
        return observations

    def read_datagram(self, datagram: Datagram, packet: Packet, *, is_dns_port: bool) -> list[Observation]:
        """Return what a datagram that is not DNS makes known; on DNS ports every one is looked at."""
        key = flow_key(_UDP, datagram.src, datagram.src_port, datagram.dst, datagram.dst_port)
        found = self._table.find(key)
        observations: list[Observation] = []
        if found is not None and is_idle(found[0], datagram.ts_ns):
            observations += self._leave(found[0], datagram.ts_ns)
            found = None
        if found is None:
            if not datagram.wire_payload_octets:
                return observations
            flow, begun = self._begin(key, datagram.ts_ns, packet.interface)
            found = flow, 0
            observations += begun
        flow, side = found
        flow.count(side, datagram.ts_ns, packet.wire_octets)
        head = flow.head
        if head is None or flow.quiet >> side & 1 or not datagram.wire_payload_octets:
            return observations
        head.may_be_quiet = not is_dns_port
        self._kept.add(flow.number, packet)
        self._note_payload(flow, head, side, datagram)
        try:
            if not head.sides[side].is_read:
                take_datagram(head.sides[side], head.sides[1 - side], datagram)
        except MalformedQuic as error:
            self._counters.count_malformed(error)
        observations += self._account(head, datagram.ts_ns)
        return observations + self._report(flow, datagram.ts_ns)

    def read_unreachable(self, unreachable: Unreachable) -> list[Observation]:
        """Return what the news that a flow's packets are not delivered makes known."""
        ends = unreachable.five_tuple
        key = flow_key(ends.transport, ends.src, ends.src_port, ends.dst, ends.dst_port)
        observations: list[Observation] = []
        found = self._table.find(key) or self._open_half(key, observations)
        if found is None or found[0].head is None:
            return observations
        found[0].head.unreachable = found[1]
        return observations + self._report(found[0], unreachable.ts_ns)

    def advance(self, now_ns: int) -> list[Observation]:
        """Return what the alarms due by `now_ns` make known."""
        observations: list[Observation] = []
        for key, row in self._half_open.pop_until(now_ns - SETTLE_NS):
            if self._told_names.has_told(*ends_of(key), now_ns):  # else there is nothing to say of it
                flow, head = self._from_half(key, row, observations)
                observations += self._settle(flow, head, row.first_ns + SETTLE_NS)
        while self._alarms and self._alarms[0][0] <= now_ns:
            due_ns, number = heappop(self._alarms)
            flow_due = self._heads.get(number)
            if flow_due is not None and flow_due.head is not None:
                observations += self._settle(flow_due, flow_due.head, due_ns)
        return observations

    def flush(self, now_ns: int, *, has_more: bool) -> list[Observation]:
        """Return what is known of all flows, and forget them; `has_more`: packets of others follow."""
        self._alarms.clear()
        flows = self._table.clear()
        for flow in flows:
            flow.has_left = has_more
        observations = [row for flow in flows for row in self._finish(flow, now_ns)]
        for row in self._half_open.clear():
            observations += self._give_up(row, now_ns)
        return observations

    def _begin(self, key: FlowKey, ts_ns: int, interface: str) -> tuple[Flow, list[Observation]]:
        flow = Flow(key, self._next_key(), ts_ns, FlowHead(interface))
        self._counters.flows += 1
        return flow, self._insert(flow, ts_ns)

    def _insert(self, flow: Flow, now_ns: int) -> list[Observation]:
        observations: list[Observation] = []
        for leaving in self._table.insert(flow):
            leaving.has_left = True
            observations += self._finish(leaving, now_ns)
        self._counters.flows_evicted = self._table.evicted
        self._heads[flow.number] = flow
        self._set_alarm(flow, flow.first_ns + SETTLE_NS)
        return observations + self._make_room(now_ns)

    def _begin_half(self, key: FlowKey, segment: Segment, packet: Packet) -> list[Observation]:
        """Note a SYN for which there is no flow."""
        self._counters.flows += 1
        row = HalfOpen(self._next_key(), segment.ts_ns, segment.seq, packet.wire_octets, packet.interface)
        self._kept.add_syn(row.number, packet)
        leaving = self._half_open.add(key, row)
        self._counters.half_open_evicted = self._half_open.evicted
        return [observation for oldest in leaving for observation in self._give_up(oldest, segment.ts_ns)]

    def _open_half(self, key: FlowKey, observations: list[Observation]) -> tuple[Flow, int] | None:
        """Return the flow that a SYN noted before began, and which side `key` is of; add what that makes known."""
        row = self._half_open.pop(key)
        if row is None:
            return None
        flow, _ = self._from_half(*row, observations)
        return flow, int(row[0] != key)

    def _from_half(self, key: FlowKey, row: HalfOpen, observations: list[Observation]) -> tuple[Flow, FlowHead]:
        flow, head = opened(key, row)
        observations += self._insert(flow, row.first_ns)
        return flow, head

    def _give_up(self, row: HalfOpenRow, now_ns: int) -> list[Observation]:
        """Report a SYN that is not waited for any longer, as far as there is something to say of it."""
        if not self._told_names.has_told(*ends_of(row[0]), now_ns):
            return []
        return self._finish(opened(*row)[0], now_ns)

    def _begins_another(self, flow: Flow, side: int, segment: Segment) -> bool:
        """Tell whether a SYN opens the five-tuple anew rather than repeating what opened this flow."""
        if not segment.flags & _SYN or is_refused(flow, side, segment):
            return False
        if flow.isn is None:
            if flow.head is None:  # all was read, and its initiator never sent anything
                return True
            stream = flow.head.sides[side].stream
            return stream is not None and not stream.is_start((segment.seq + 1) & 0xFFFFFFFF)
        if segment.flags & _ACK:
            return not 0 < sequence_distance(flow.isn, segment.ack) <= HEAD_OCTETS
        return flow.isn != segment.seq

    def _read_head(self, flow: Flow, head: FlowHead, side: int, segment: Segment) -> list[Observation]:
        sender = head.sides[side]
        if segment.flags & (_SYN | _ACK) != _SYN:
            sender.has_sent = True
        observations: list[Observation] = []
        if segment.flags & _SYN:
            self._open(flow, head, side, segment)
        if segment.wire_payload_octets and not segment.flags & _RST:  # a RST may carry text (RFC 9293 3.5.2)
            self._note_payload(flow, head, side, segment)
            if not sender.is_read or needs_reply(head, side):
                take_segment(sender, segment)
                observations += self._account(head, segment.ts_ns)
        observations += self._hand_on_dns(flow, head, side, segment.ts_ns)
        while forget_dns(sender):  # now there is room for more of a giant segment
            take_segment(sender, segment)
            observations += self._account(head, segment.ts_ns)
            observations += self._hand_on_dns(flow, head, side, segment.ts_ns)
        if segment.flags & _FIN_RST:
            self._close(flow, head, side, segment)
        return observations + self._report(flow, segment.ts_ns)

    def _open(self, flow: Flow, head: FlowHead, side: int, segment: Segment) -> None:
        """Note a SYN, or the answer to one (RFC 9293 section 3.5)."""
        is_answer = bool(segment.flags & _ACK)
        head.opener = 1 - side if is_answer else side
        if flow.isn is None:
            flow.isn = (segment.ack - 1) & 0xFFFFFFFF if is_answer else segment.seq
        if not is_answer and segment.ts_ns - flow.first_ns >= _RETRANSMISSION_NS:
            head.is_overdue = True
        start_stream(head.sides[side], segment)

    def _close(self, flow: Flow, head: FlowHead, side: int, segment: Segment) -> None:
        sender, other = head.sides[side], head.sides[1 - side]
        if segment.flags & _RST:
            sender.has_reset = sender.has_reset or not other.has_closed
        else:
            sender.has_closed = True
        is_end = segment.flags & _RST or other.has_closed
        if is_end and head.closed_ns is None:
            head.closed_ns = segment.ts_ns
            self._set_alarm(flow, segment.ts_ns + SETTLE_NS)

    def _note_payload(self, flow: Flow, head: FlowHead, side: int, packet: Segment | Datagram) -> None:
        head.sides[side].payload_octets += packet.wire_payload_octets
        if head.first_payload_ns is None:
            head.first_payload_ns = packet.ts_ns
            if packet.ts_ns != flow.first_ns:
                self._set_alarm(flow, packet.ts_ns + SETTLE_NS)

    def _hand_on_dns(self, flow: Flow, head: FlowHead, side: int, now_ns: int) -> list[Observation]:
        sender = head.sides[side]
        observations: list[Observation] = []
        for message in sender.facts.dns[sender.dns_seen :]:
            client = 1 - side if message.is_response else side
            observations += self._on_dns(message, flow.five_tuple(client), now_ns, head.interface)
        sender.dns_seen = max(sender.dns_seen, len(sender.facts.dns))
        return observations

    def _report(self, flow: Flow, now_ns: int) -> list[Observation]:
        head = flow.head
        if head is None:
            return []
        observation = observe(flow, self._told_names, now_ns)
        if observation is not None:
            self._reported[flow.number] = flow
            if len(self._reported) > _REPORTED:
                self._reported.popitem(last=False)
        for side in range(2):
            is_done = head.sides[side].is_read and head.sides[side].payload_octets and not needs_reply(head, side)
            if head.may_be_quiet and is_done:
                flow.quiet |= 1 << side
        if flow.quiet == BOTH and head.revision:
            self._drop_head(flow, head)
        return [observation] if observation is not None else []

    def _settle(self, flow: Flow, head: FlowHead, now_ns: int) -> list[Observation]:
        """Report what could still have changed soon after the flow's first packet, first payload or end."""
        if head.closed_ns is not None and now_ns - head.closed_ns >= SETTLE_NS:
            return self._finish(flow, now_ns)
        head.is_overdue = head.opener is not None
        is_unanswered = head.is_overdue and not any(side.has_sent for side in head.sides)
        if head.first_payload_ns is not None and now_ns - head.first_payload_ns >= SETTLE_NS:
            for side in head.sides:
                side.is_read = side.is_read or side.facts.is_complete
            head.is_settled = True
        head.is_settled = head.is_settled or is_unanswered
        observations = self._report(flow, now_ns)
        if is_unanswered and not head.revision:
            self._leave(flow, now_ns)
        elif flow.quiet == BOTH and head.is_settled and flow.head is not None:
            self._drop_head(flow, head)
        return observations

    def _leave(self, flow: Flow, now_ns: int) -> list[Observation]:
        self._table.remove(flow)
        flow.has_left = True
        return self._finish(flow, now_ns)

    def _finish(self, flow: Flow, now_ns: int) -> list[Observation]:
        """Read what there is, report it, and keep no more than the counts."""
        head = flow.head
        if head is None:
            return []
        observations: list[Observation] = []
        for side in (0, 1):
            try:
                read_rest(head.sides[side])
            except MalformedQuic as error:
                self._counters.count_malformed(error)
            observations += self._hand_on_dns(flow, head, side, now_ns)
        head.is_settled = True
        observations += self._report(flow, now_ns)
        self._drop_head(flow, head)
        return observations

    def _drop_head(self, flow: Flow, head: FlowHead) -> None:
        for side in head.sides:
            if side.stream is not None:
                self._counters.conflicts += side.stream.conflicts
                self._counters.reassembly_evicted += side.stream.evicted
        if self._heads.pop(flow.number, None) is not None:
            self._held_octets -= head.held_octets
        if not head.revision:  # nothing was recognised
            self._kept.release(flow.number)
        initiator = find_initiator(flow, head, self._told_names, flow.last_ns)
        stream = head.sides[initiator].stream
        if flow.isn is None and stream is not None:
            flow.isn = stream.isn
        flow.head = None
        flow.quiet = BOTH if head.may_be_quiet else 0

    def _account(self, head: FlowHead, now_ns: int) -> list[Observation]:
        """Keep what heads take within the limit: without room, the oldest is read as it is and dropped."""
        held = sum(side.held_octets for side in head.sides)
        self._held_octets += held - head.held_octets
        head.held_octets = held
        return self._make_room(now_ns)

    def _make_room(self, now_ns: int) -> list[Observation]:
        observations: list[Observation] = []
        while self._held_octets + len(self._heads) * FLOW_HEAD_OCTETS > self._head_octets and len(self._heads) > 1:
            self._counters.reassembly_evicted += 1
            oldest = next(iter(self._heads.values()))
            if oldest.head is not None and oldest.head.first_payload_ns is None:
                observations += self._leave(oldest, now_ns)  # what it will send makes another flow
            else:
                observations += self._finish(oldest, now_ns)
        return observations

    def _set_alarm(self, flow: Flow, due_ns: int) -> None:
        heappush(self._alarms, (due_ns, flow.number))
        if len(self._alarms) > _MAX_ALARMS * len(self._heads) + _ALARM_SLACK:
            self._alarms = [row for row in self._alarms if row[1] in self._heads]
            heapify(self._alarms)
