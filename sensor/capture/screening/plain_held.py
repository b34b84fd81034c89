"""Flows whose packets are held back, and what becomes of them: handed out or passed over. As `screen_held.h`."""

from collections import deque
from typing import Final

from sensor.capture.screening.plain_suspects import Suspects
from sensor.packet import NEVER_NS, Packet

HELD_OCTETS: Final = 3 << 20
HELD_FLOWS: Final = 16_384  # that began within `SETTLE_NS`, and those that are held for longer
MOST_HELD: Final = 16  # packets of a flow
LARGEST_HELD: Final = 8192  # octets of a packet
MOST_BEGUN: Final = 256
SETTLE_NS: Final = 3_000_000_000
LONGEST_NS: Final = 30_000_000_000

HELD: Final = 0
WAITING: Final = 1  # as HELD, with a hello of no interest
HANDED: Final = 2
OVER: Final = 3  # passed over

NO_PACKETS: Final[list[Packet]] = []  # of all flows of which none are held


class Flow:
    """A flow that is held back or handed out; `ends` are the addresses of both, `packets` those that are held.

    `is_alone` tells that nothing came but the SYN that opens it, `has_hello` that what came of it may be a hello.
    """

    __slots__ = ("ends", "last_ns", "packets", "state")

    is_lookup = is_alone = has_hello = False  # of look-ups; connections have their own
    ends: bytes
    last_ns: int
    packets: list[Packet]
    state: int

    def forget(self) -> None:
        """Take it out of its table."""
        raise NotImplementedError

    def forget_hello(self) -> None:
        """Forget what came of a hello: it is read, or others read it."""


class Held:
    """Flows with packets, in the order of their first ones. What is handed out goes to the end of a list `found`.

    A flow leaves its line once what becomes of it is done, so that none is lost by an error.

    `due_ns` is when one of them is to be looked at. Finished ones stay in line, without packets, until their time is
    over; `begun` are those of whose hello more was to come when they were put there.
    """

    def __init__(self, suspects: Suspects) -> None:
        self.due_ns = NEVER_NS
        self.flows = self.lookups = self.evicted = 0
        self.octets = 0
        self._suspects = suspects
        self._fresh: deque[tuple[int, Flow]] = deque()
        self._settled: deque[tuple[int, Flow]] = deque()
        self._begun: list[Flow] = []

    def hold(self, flow: Flow, packet: Packet, now_ns: int, found: list[Packet]) -> None:
        """Hold a packet of a flow back."""
        if flow.packets:
            flow.packets.append(packet)
        else:
            flow.packets = [packet]
            self._fresh.append((packet.ts_ns, flow))
            due_ns = packet.ts_ns + SETTLE_NS
            if due_ns < self.due_ns:  # noqa: PLR1730 - min() costs a tenth of this
                self.due_ns = due_ns
            if len(self._fresh) > HELD_FLOWS:
                self._give_up_first(self._fresh, now_ns, found)
        self.octets += len(packet.data)
        if self.octets > HELD_OCTETS:
            self._make_room(now_ns, found)

    def hand_over(self, flow: Flow, found: list[Packet]) -> None:
        """Hand out what is held of a flow, and all that comes of it from now on."""
        found += flow.packets
        self._empty(flow)
        flow.state = HANDED

    def pass_over(self, flow: Flow) -> None:
        """Pass over what is held of a flow, which is forgotten."""
        if flow.is_lookup:
            self.lookups += 1
        else:
            self.flows += 1
        self._empty(flow)
        flow.forget()

    def _empty(self, flow: Flow) -> None:
        self.octets -= sum([len(packet.data) for packet in flow.packets])
        flow.packets = NO_PACKETS
        if flow.has_hello:
            flow.forget_hello()

    def give_up(self, flow: Flow, now_ns: int, found: list[Packet]) -> None:
        """End a flow that is held and that there is no more room for."""
        if self._is_telling(flow):
            self.hand_over(flow, found)
            return
        self.evicted += now_ns < flow.last_ns + SETTLE_NS
        self.pass_over(flow)

    def _is_telling(self, flow: Flow) -> bool:
        """Tell whether something may come of what is held.

        So of a hello of which more was to come, and what leads to an address that was told since it began.
        """
        return flow.state == HELD and (flow.has_hello or flow.ends in self._suspects.marked)

    def _settle(self, flow: Flow, found: list[Packet]) -> None:
        """End the time in which a hello and its answer are to be expected.

        A SYN alone is forgotten, what is of no interest by now held on.
        """
        if self._is_telling(flow):
            self.hand_over(flow, found)
        elif flow.is_alone:
            self.pass_over(flow)

    def _release(self, flow: Flow, found: list[Packet]) -> None:
        """Hold no packet any longer.

        A look-up that nobody answered is dropped, and a hello before any name led there: handed out now, it would seem
        to come after. Its answer is waited for all the same.
        """
        if flow.is_lookup:
            self.pass_over(flow)
        elif flow.state == WAITING and flow.ends in self._suspects.marked:
            self._empty(flow)
        else:
            self.hand_over(flow, found)

    def expire(self, now_ns: int, found: list[Packet]) -> None:
        """Look at the flows whose first packet is so old by `now_ns` that they are due."""
        fresh, settled = self._fresh, self._settled
        while fresh and (fresh[0][0] <= now_ns - SETTLE_NS or not fresh[0][1].packets):
            first_ns, flow = fresh[0]
            if flow.packets and flow.packets[0].ts_ns == first_ns:
                self._settle(flow, found)
                if flow.packets:
                    settled.append((first_ns, flow))
            fresh.popleft()
        while settled and (settled[0][0] <= now_ns - LONGEST_NS or not settled[0][1].packets):
            first_ns, flow = settled[0]
            if flow.packets and flow.packets[0].ts_ns == first_ns:
                self._release(flow, found)
            settled.popleft()
        while len(settled) > HELD_FLOWS:
            self._give_up_first(settled, now_ns, found)
        self.due_ns = min(
            fresh[0][0] + SETTLE_NS if fresh else NEVER_NS, settled[0][0] + LONGEST_NS if settled else NEVER_NS
        )

    def release_all(self, now_ns: int, found: list[Packet]) -> None:
        """Hold nothing from here on: it is the end, or another beginning."""
        for line in (self._settled, self._fresh):
            while line:
                self._give_up_first(line, now_ns, found)
        self._begun = []
        self.due_ns = NEVER_NS

    def hand_over_all(self, found: list[Packet]) -> None:
        """Hand out all that is held, whatever may come of it."""
        for line in (self._settled, self._fresh):
            for _, flow in line:
                found += flow.packets
                flow.packets, flow.state = NO_PACKETS, HANDED
                flow.forget_hello()
            line.clear()
        self._begun = []
        self.octets = 0
        self.due_ns = NEVER_NS

    def _make_room(self, now_ns: int, found: list[Packet]) -> None:
        while self.octets > HELD_OCTETS:
            self._give_up_first(self._settled or self._fresh, now_ns, found)

    def _give_up_first(self, line: deque[tuple[int, Flow]], now_ns: int, found: list[Packet]) -> None:
        first_ns, flow = line[0]
        if flow.packets and flow.packets[0].ts_ns == first_ns:
            self.give_up(flow, now_ns, found)
        line.popleft()

    def hand_over_begun(self, found: list[Packet]) -> None:
        """Hand out the hellos of which more is to come.

        It may come in fragments, which are not read here, and not before them.
        """
        begun, self._begun = self._begun, []
        for flow in begun:
            if flow.state == HELD and flow.packets:
                self.hand_over(flow, found)

    def note_begun(self, flow: Flow, found: list[Packet]) -> None:
        """Take note that more is to come of a flow's hello."""
        if len(self._begun) == MOST_BEGUN:
            self.hand_over_begun(found)
        self._begun.append(flow)
