"""The packets that indicators came from, kept while their flow or DNS transaction may yet be a detection.

What turns out to be nothing is let go at once (`release`). Where room is needed, what looks like nothing so far goes
first (`doubt`, 512 at most), then the oldest. SYNs wait apart until their flow sends more: a flood of them takes no
room from what carries something.

Cost: a dictionary look-up and an append for each packet whose content is read, none for others (bench/pipeline.py).
"""

from collections import OrderedDict
from typing import Final

from sensor.packet import Packet

FLOW_PACKETS: Final = 8
FLOW_OCTETS: Final = 16_384
PACKET_OCTETS: Final = 160  # what a packet takes besides its octets
KEY_OCTETS: Final = 300  # what a key takes besides its packets
MAX_SYNS: Final = 2048
MAX_NAMES: Final = 2048
KEYS_OF_NAME: Final = 4  # such as the look-ups of A, AAAA and HTTPS
MAX_DOUBTED: Final = 512


class KeptPackets:
    """Packets by the key of their observation, `limit` octets of memory in all (0: none are kept).

    Of one key the first 8 packets and 16 KiB; a packet beyond is cut, its `wire_octets` stay. `evicted` counts the keys
    that made room.
    """

    def __init__(self, limit: int) -> None:
        self.evicted = 0
        self._limit = limit
        self._octets = 0
        self._packets: OrderedDict[int, list[Packet]] = OrderedDict()
        self._doubted: OrderedDict[int, list[Packet]] = OrderedDict()
        self._syns: OrderedDict[int, Packet] = OrderedDict()
        self._named: OrderedDict[tuple[bytes, str], tuple[int, ...]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._packets) + len(self._doubted)

    @property
    def octets(self) -> int:
        """Return how much memory the packets take, SYNs that wait aside."""
        return self._octets

    def add(self, key: int, packet: Packet) -> None:
        """Keep a packet, as far as there is room for its key."""
        if not self._limit:
            return
        kept = self._find(key)
        if kept is None:
            kept = self._packets[key] = []
            self._octets += KEY_OCTETS
            syn = self._syns.pop(key, None)
            if syn is not None:
                self._append(kept, syn, FLOW_OCTETS)
        room = FLOW_OCTETS
        for earlier in kept:
            room -= len(earlier.data)
        if len(kept) < FLOW_PACKETS and room > 0:
            self._append(kept, packet, room)
        while self._octets > self._limit:
            if self._doubted:
                self._let_go(self._doubted.popitem(last=False)[1])
            else:
                self._let_go(self._packets.popitem(last=False)[1])
                self.evicted += 1

    def add_syn(self, key: int, packet: Packet) -> None:
        """Keep the SYN of a flow that has sent nothing else; the last 2,048 of them."""
        if not self._limit:
            return
        self._syns[key] = packet
        if len(self._syns) > MAX_SYNS:
            self._syns.popitem(last=False)

    def name(self, key: int, client: bytes, name: str) -> None:
        """Note that the packets under `key` show what `client` did with `name`."""
        known = self._named.get((client, name), ())
        if key not in known:
            self._named[client, name] = (*known, key)[-KEYS_OF_NAME:]
        self._named.move_to_end((client, name))
        if len(self._named) > MAX_NAMES:
            self._named.popitem(last=False)

    def of(self, key: int) -> list[Packet]:
        """Return the packets under `key`, in the order they came."""
        kept = self._find(key)
        if kept is not None:
            return list(kept)
        syn = self._syns.get(key)
        return [] if syn is None else [syn]

    def of_name(self, client: bytes, name: str) -> list[Packet]:
        """Return the packets that show what `client` did with `name` lately."""
        return [packet for key in self._named.get((client, name), ()) for packet in self.of(key)]

    def release(self, key: int) -> None:
        """Let go the packets under `key`: they are nothing."""
        if not self._limit:
            return
        for table in (self._packets, self._doubted):
            kept = table.pop(key, None)
            if kept is not None:
                self._let_go(kept)

    def doubt(self, key: int) -> None:
        """Let go the packets under `key` before others: so far they are nothing, but more may come."""
        kept = self._packets.pop(key, None)
        if kept is None:
            return
        self._doubted[key] = kept
        if len(self._doubted) > MAX_DOUBTED:
            self._let_go(self._doubted.popitem(last=False)[1])

    def _find(self, key: int) -> list[Packet] | None:
        kept = self._packets.get(key)
        return kept if kept is not None else self._doubted.get(key)

    def _append(self, kept: list[Packet], packet: Packet, room: int) -> None:
        if len(packet.data) > room:
            cut = packet.data[:room]
            packet = Packet(packet.ts_ns, packet.link_type, cut, packet.wire_octets, packet.interface)
        kept.append(packet)
        self._octets += len(packet.data) + PACKET_OCTETS

    def _let_go(self, kept: list[Packet]) -> None:
        self._octets -= KEY_OCTETS
        for packet in kept:
            self._octets -= len(packet.data) + PACKET_OCTETS
