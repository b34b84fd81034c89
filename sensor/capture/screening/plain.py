"""The screen in Python, for where there was no compiler: as screen.h, but for what is told here.

Frames that are laid out as nearly all are take one `unpack` (Ethernet with one VLAN tag at most, IPv4 without options
or IPv6 without extension headers, all of it captured); `plain_headers` reads others.

Cost: 2.8 us a packet on average, a fifth of what the pipeline takes for it: 4.3 us a DNS message, 2.6 us a segment of a
connection until it is passed over, 1.2 us one that comes later.
"""

import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from sensor.capture.screening.plain_connections import Connections
from sensor.capture.screening.plain_dns import is_like_dns
from sensor.capture.screening.plain_headers import FragmentOf, read_headers
from sensor.capture.screening.plain_held import Held
from sensor.capture.screening.plain_lookups import Lookups
from sensor.capture.screening.plain_names import Names
from sensor.capture.screening.plain_suspects import Suspects, packed
from sensor.capture.screening.screen import Screen, ScreenTotals, Source
from sensor.flows.flow import TCP_IDLE_NS, reverse_key
from sensor.packet import LinkType, Packet

CLOCK_STEP_NS: Final = 60_000_000_000

_DNS_PORT: Final = b"\x00\x35"
_TCP: Final = 6
_UDP: Final = 17
_ETHERNET: Final = int(LinkType.ETHERNET)
_TYPE_IPV4: Final = 0x0800
_TYPE_IPV6: Final = 0x86DD
_TYPE_TAG: Final = 0x8100
_IPV4_FIRST: Final = 0x45  # octet: version, and the length of the header without options
_IPV6_FIRST: Final = 6  # half octet: the version
_FRAGMENT: Final = 0x3FFF
_LINK_OCTETS: Final = 14
_TAG_OCTETS: Final = 4
_IPV4_OCTETS: Final = 20
_IPV6_OCTETS: Final = 40
_TCP_OCTETS: Final = 20
_UDP_OCTETS: Final = 8
_IPV4_LEAST: Final = _LINK_OCTETS + _IPV4_OCTETS + _TCP_OCTETS
_IPV6_LEAST: Final = _LINK_OCTETS + _IPV6_OCTETS + _TCP_OCTETS

# Type, version, length, fragment, protocol, ends; then of TCP sequence number, offset and flags (UDP: length above).
_read_ipv4: Final = struct.Struct(">12xHBxH2xHxB2x12sI4xBB").unpack_from
_read_ipv6: Final = struct.Struct(">14xB3xHBx36sI4xBB").unpack_from


class PlainScreen(Screen):
    """A screen whose tables are dictionaries: 52 MiB once all are full of IPv6 addresses, 67 with the longest names.

    `passed` holds the keys (`sensor.flows.flow`) of both directions of TCP connections that nothing came of, each with
    the sequence number of its first octet. It is the same object for the screen's life.
    """

    def __init__(self) -> None:
        super().__init__()
        self._names = Names(self.decide)
        self._suspects = Suspects()
        self._held = Held(self._suspects)
        self._lookups = Lookups(self._names, self._suspects, self._held)
        self._connections = Connections(self._names, self._suspects, self._held, self._lookups.told)
        self.passed = self._connections.passed
        self._now_ns = self._flows_until_ns = 0
        self._packets = self._octets = 0

    def occupy(self) -> None:
        """As `Screen.occupy`: nothing here can."""

    def number(self, sources: Iterable[Source]) -> None:
        """As `Screen.number`: packets are held as they are."""

    def sift(self, packets: list[Packet]) -> list[Packet]:
        """As `Screen.sift`."""
        found: list[Packet] = []
        if packets and packets[0].ts_ns >= self._flows_until_ns:
            self.forget_flows()
            self._flows_until_ns = packets[0].ts_ns + TCP_IDLE_NS
        rest = iter(packets)
        while not self._take_rest(rest, found):
            pass
        self._count(packets, 1)
        self._count(found, -1)
        return found

    def _take_rest(self, rest: Iterator[Packet], found: list[Packet]) -> bool:
        """Tell whether all of `rest` was taken; a packet that an error kept from it is handed out, and is the last."""
        take, held, now_ns = self._take, self._held, self._now_ns
        try:
            for packet in rest:
                ts_ns = packet.ts_ns
                if ts_ns > now_ns:
                    self._now_ns = now_ns = ts_ns
                elif ts_ns + CLOCK_STEP_NS < now_ns:  # another capture begins, or the clock was set
                    self._begin_anew(found)
                    self._now_ns = now_ns = ts_ns
                    self._flows_until_ns = now_ns + TCP_IDLE_NS
                if now_ns >= held.due_ns:
                    held.expire(now_ns, found)
                if take(packet, now_ns, found):
                    found.append(packet)
        except Exception as error:  # noqa: BLE001 - a loop over packets: counted and said (`Faults`), it goes on
            self.faults.note(error, packet.data)
            self._hand_over_all(found)
            found.append(packet)
            return False
        return True

    def _hand_over_all(self, found: list[Packet]) -> None:
        """Hand out all that is held and what comes of its flows, and for a while of all that begin.

        After an error nobody knows what flow it concerns, or whom an answer led where.
        """
        self._held.hand_over_all(found)
        self._connections.hand_over_all()
        self._suspects.doubt_all(self._now_ns)

    def _take(self, packet: Packet, now_ns: int, found: list[Packet]) -> bool:
        """Tell whether a packet is to be handed out, behind what was held of its flow, which goes to `found`."""
        data = packet.data
        captured, at, is_plain = len(data), 0, False
        if captured < _IPV4_LEAST or packet.link_type != _ETHERNET:
            return self._take_odd(packet, now_ns, found)
        kind, first, octets, fragment, protocol, key, seq, offset, flags = _read_ipv4(data)
        if kind == _TYPE_TAG and captured >= _IPV4_LEAST + _TAG_OCTETS:
            at = _TAG_OCTETS
            kind, first, octets, fragment, protocol, key, seq, offset, flags = _read_ipv4(data, at)
        start = at + _LINK_OCTETS
        if kind == _TYPE_IPV4:
            end, start = start + octets, start + _IPV4_OCTETS
            is_plain = first == _IPV4_FIRST and not fragment & _FRAGMENT
        elif kind == _TYPE_IPV6 and captured >= at + _IPV6_LEAST:
            first, octets, protocol, key, seq, offset, flags = _read_ipv6(data, at)
            start += _IPV6_OCTETS
            end = start + octets
            is_plain = first >> 4 == _IPV6_FIRST
        if not is_plain or not start < end <= captured <= packet.wire_octets:
            return self._take_odd(packet, now_ns, found)
        if protocol == _TCP:
            body = start + (offset >> 4 << 2)
            return not start + _TCP_OCTETS <= body <= end or self._connections.take(
                packet, key, seq, flags, data[body:end], end - body, now_ns, found
            )
        if protocol == _UDP:
            length, start = seq >> 16, start + _UDP_OCTETS
            return (length > 0 and not _UDP_OCTETS <= length <= end - start + _UDP_OCTETS) or self._take_datagram(
                packet, key, length, data[start:end], end - start, now_ns, found
            )
        return self._take_odd(packet, now_ns, found)

    def _take_odd(self, packet: Packet, now_ns: int, found: list[Packet]) -> bool:
        """As `_take`, of frames that are laid out in another way."""
        headers = read_headers(packet)
        if headers is None:
            return True
        if isinstance(headers, FragmentOf):
            self._held.hand_over_begun(found)
            self._suspects.doubt(headers.dst, now_ns)
            return True
        protocol, key, seq, flags, payload, octets = headers
        if protocol == _TCP:
            return self._connections.take(packet, key, seq, flags, payload, octets, now_ns, found)
        return self._take_datagram(packet, key, seq, payload, octets, now_ns, found)

    def _take_datagram(  # noqa: PLR0917 - as `Lookups.take`
        self, packet: Packet, key: bytes, length: int, payload: bytes, octets: int, now_ns: int, found: list[Packet]
    ) -> bool:
        if key[-2:] == _DNS_PORT:
            to_server = key if key[-4:-2] != _DNS_PORT else min(key, reverse_key(key))
            return self._lookups.take(packet, key, to_server, length, payload, octets, now_ns, found)
        if key[-4:-2] == _DNS_PORT:
            return self._lookups.take(packet, key, reverse_key(key), length, payload, octets, now_ns, found)
        if is_like_dns(payload):
            half = (len(key) - 4) >> 1
            self._suspects.doubt(key[half : 2 * half], now_ns)
        return True

    def _count(self, packets: list[Packet], sign: int) -> None:
        self._packets += sign * len(packets)
        self._octets += sign * sum([packet.wire_octets for packet in packets])

    def _begin_anew(self, found: list[Packet]) -> None:
        """Hold nothing, and forget all flows."""
        self._held.release_all(self._now_ns, found)
        self.forget_flows()

    def forget_flows(self) -> None:
        """Forget the flows that were passed over or handed out: what comes of them begins others. Held ones go on.

        So it is every hour, as where flow heads are read in Python: nobody takes note here when one was last seen.
        """
        self._connections.forget()
        self._lookups.forget()

    def advance(self, now_ns: int, *, is_end: bool = False) -> list[Packet]:
        """As `Screen.advance`."""
        found: list[Packet] = []
        try:
            if is_end:
                self._begin_anew(found)
            else:
                self._held.expire(now_ns, found)
        except Exception as error:  # noqa: BLE001 - a loop over packets: counted and said (`Faults`), it goes on
            self.faults.note(error, b"")
            self._hand_over_all(found)
        self._count(found, -1)
        return found

    def answers(self, client: bytes, address: bytes, now_ns: int) -> list[tuple[int, bytes]]:
        """As `Screen.answers`."""
        return self._lookups.told.take(packed(client), packed(address), now_ns)

    def asked(self, client: bytes, name: str) -> tuple[int, int]:
        """As `Screen.asked`."""
        return self._lookups.asked.times(packed(client), name)

    def mark(self, client: bytes, address: bytes) -> None:
        """As `Screen.mark`."""
        self._suspects.mark(packed(client), packed(address))

    def ask_again(self, names: Sequence[str] = ()) -> None:
        """As `Screen.ask_again`."""
        self._names.ask_again(names)

    def follow(self, ends: Iterable[bytes], names: Sequence[str] | None = None) -> None:
        """As `Screen.follow`."""
        self._names.follow(names)
        self._suspects.follow(ends)
        self._lookups.told.follow()

    def totals(self) -> ScreenTotals:
        """As `Screen.totals`."""
        held, lookups = self._held, self._lookups
        return ScreenTotals(
            self._packets,
            self._octets,
            held.flows,
            held.lookups,
            lookups.messages,
            held.evicted,
            lookups.told.evicted + lookups.asked.evicted,
        )
