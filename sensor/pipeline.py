"""Packets in, observations out: decoding, flows, DNS and told names together.

Sans-I/O: time is the packets', or what `advance` is told; replay at any speed gives the same observations.

Cost by bench/pipeline.py: about 1 us for a packet of a quiet flow, 20 us for one whose head is being read.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from itertools import count
from typing import Final

from rules.values.observation import FiveTuple, Observation, Transport
from sensor.capture.screening.screen import Screen
from sensor.counters import Counters
from sensor.decoding.decode import Datagram, Decoded, Fragment, Segment, Unreachable, decode, decode_payload, read_plain
from sensor.decoding.fragments import FragmentTable
from sensor.errors import MalformedInput, NeedMoreData
from sensor.extract.dhcp import SERVER_PORT, DhcpMessage, is_likely_dhcp, read_dhcp
from sensor.extract.dns import DnsMessage, is_likely_dns, parse_message
from sensor.flows.flow import SETTLE_NS, Count, Flow, FlowTable, flow_key
from sensor.flows.half_open import HalfOpenTable
from sensor.flows.kept_packets import KeptPackets
from sensor.flows.reader import FlowReader
from sensor.names.correlate import ToldNames
from sensor.names.dns_shapes import DnsShapes
from sensor.names.dns_transactions import ANSWER_WAIT_NS, DnsTransactions
from sensor.packet import NEVER_NS, Packet

DNS_PORTS: Final = frozenset((53, 5353, 5355))  # DNS, multicast DNS (RFC 6762), LLMNR (RFC 4795)
DNS_PORT: Final = 53
DNS_HEADER_OCTETS: Final = 12
IsOwnLookup = Callable[[str, bytes], bool]
OnDhcp = Callable[[DhcpMessage, str, int], None]

_UDP: Final = Transport.UDP
_SOONEST_NS: Final = min(ANSWER_WAIT_NS, SETTLE_NS)  # an alarm is at least so far behind the packet that sets it
_CLOCK_STEP_NS: Final = 60_000_000_000  # packets this much older than the last: another capture, or the clock was set


@dataclass(frozen=True, slots=True)
class Limits:
    """The size of each table (docs/architecture.md, "Bounds")."""

    flows: int = 49_152
    half_open: int = 20_480
    head_octets: int = 12 << 20
    dns_transactions: int = 8_192
    dns_shapes: int = 8_192
    told_pairs: int = 131_072
    asked_names: int = 16_384
    fragmented_datagrams: int = 4096
    kept_octets: int = 2 << 20

    def beside_several_interfaces(self) -> "Limits":
        """Return five eighths of each, for the memory of what puts packets in order and leaves copies out."""
        return Limits(**{field.name: getattr(self, field.name) * 5 // 8 for field in fields(self)})


class Pipeline:
    """The way from packets to observations. `counters` is current after each call."""

    def __init__(
        self,
        limits: Limits | None = None,
        is_own_lookup: IsOwnLookup | None = None,
        on_dhcp: OnDhcp | None = None,
        screen: Screen | None = None,
    ) -> None:
        """Make the tables; `is_own_lookup(qname, name on the wire)` says which questions are the program's own.

        `on_dhcp(message, interface, its time)` is told who has which address. `screen` is what the source holds packets
        back with.
        """
        self._is_own_lookup = is_own_lookup
        self._on_dhcp = on_dhcp
        self.screen = screen
        self.limits = limits = limits if limits is not None else Limits()
        keys = count(1)
        self.kept = KeptPackets(limits.kept_octets)
        self.counters = Counters()
        self._now_ns = 0
        self._due_ns = NEVER_NS
        self._told_names = ToldNames(limits.told_pairs, asked_limit=limits.asked_names, passed_over=screen)
        self._fragments = FragmentTable(limits.fragmented_datagrams)
        self._table = FlowTable(limits.flows)
        self._shapes = DnsShapes(limits.dns_shapes)
        self._dns = DnsTransactions(keys.__next__, limits.dns_transactions, self._shapes)
        self._flows = FlowReader(
            self._table,
            self._told_names,
            self.counters,
            keys.__next__,
            on_dns=self._take_dns,
            head_octets=limits.head_octets,
            half_open=HalfOpenTable(limits.half_open),
            kept=self.kept,
        )

    def is_ordinary(self, qname: str) -> bool:
        """Tell whether a question for an address of `qname` carries no data of a DNS tunnel."""
        return self._shapes.is_ordinary(qname)

    def tunnel_domains(self) -> list[str]:
        """Return the domains below which questions are not ordinary, since DNS tunnels were found there."""
        return self._shapes.domains()

    def spare_lookups(self, services: frozenset[str]) -> None:
        """Take no questions below the domains `services` for those of DNS tunnels any more."""
        self._shapes.lookup_services = services

    @property
    def dns_tunnels(self) -> int:
        """Return how many domains were found to lead to DNS tunnels; it never falls."""
        return self._shapes.found

    @property
    def open_flows(self) -> int:
        """Return how many flows the table holds now."""
        return len(self._table)

    def feed(self, packet: Packet) -> list[Observation]:
        """Return what `packet` makes known."""
        return self.feed_batch((packet,))

    def flow(self, key: int) -> Flow | None:
        """Return the flow of an observation just made; None for a DNS transaction."""
        return self._flows.flow(key)

    def packets_of(self, observation: Observation) -> list[Packet]:
        """Return the packets that an observation just made came from, as far as they are kept."""
        if observation.dns is None or observation.five_tuple.transport is Transport.UDP:
            return self.kept.of(observation.key)
        ends = observation.five_tuple  # of DNS over TCP: its flow's packets
        found = self._table.find(flow_key(ends.transport, ends.src, ends.src_port, ends.dst, ends.dst_port))
        return self.kept.of(found[0].number) if found is not None else []

    def add_count(self, counted: Count) -> None:
        """Note packets that the source counted instead of handing them out; a flow that began later is another."""
        found = self._table.find(counted.key)
        if found is not None and found[0].first_ns <= counted.last_ns:
            found[0].add(counted, found[1])

    def feed_batch(self, packets: Iterable[Packet]) -> list[Observation]:
        """Return what `packets` make known, in their order; cheaper than one `feed` for each."""
        observations: list[Observation] = []
        counters, table = self.counters, self._table
        seen = octets = 0
        for packet in packets:
            ts_ns, wire_octets = packet.ts_ns, packet.wire_octets
            seen += 1
            octets += wire_octets
            if ts_ns >= self._due_ns:
                observations += self.advance(ts_ns)
            plain = read_plain(packet)
            if plain is None and table.count_quiet(packet):
                continue
            if ts_ns < self._now_ns - _CLOCK_STEP_NS:
                observations += self._flush(has_more=True)
                self._now_ns = ts_ns
            try:
                observations += self._read(packet, plain, ts_ns)
            except MalformedInput as error:
                counters.count_malformed(error)
            except NeedMoreData:
                counters.truncated += 1
        counters.packets += seen
        counters.octets += octets
        self._gather_counters()
        return observations

    def advance(self, now_ns: int) -> list[Observation]:
        """Return what became known by `now_ns` although no packet came: queries and SYNs without an answer."""
        self._now_ns = max(self._now_ns, now_ns)
        observations = self._dns.advance(now_ns) + self._flows.advance(now_ns)
        self._set_due()
        return observations

    def flush(self) -> list[Observation]:
        """Return everything not reported yet; the end of the packets. Flows and transactions are forgotten."""
        return self._flush(has_more=False)

    def _flush(self, *, has_more: bool) -> list[Observation]:
        observations = self._dns.flush() + self._flows.flush(self._now_ns, has_more=has_more)
        self._set_due()
        self._gather_counters()
        return observations

    def _read(self, packet: Packet, plain: Segment | Datagram | None, now_ns: int) -> list[Observation]:
        self._now_ns = max(self._now_ns, now_ns)
        decoded: Decoded | None = plain if plain is not None else decode(packet)
        if isinstance(decoded, Fragment):
            self.counters.fragments += 1
            decoded = self._reassemble(decoded)
        elif decoded is None:
            self.counters.not_ip += 1
        observations = self._take(decoded, packet)
        if self._due_ns > now_ns + _SOONEST_NS:  # else no alarm set by this packet is due sooner
            self._set_due()
        return observations

    def _reassemble(self, fragment: Fragment) -> Decoded | None:
        complete = self._fragments.add(fragment)
        return None if complete is None else decode_payload(fragment, complete[0], is_whole=complete[1])

    def _take(self, decoded: Decoded | None, packet: Packet) -> list[Observation]:
        if isinstance(decoded, Segment):
            return self._flows.read_segment(decoded, packet)
        if isinstance(decoded, Datagram):
            return self._take_datagram(decoded, packet)
        if isinstance(decoded, Unreachable):
            return self._flows.read_unreachable(decoded)
        return []

    def _take_datagram(self, datagram: Datagram, packet: Packet) -> list[Observation]:
        src_port, dst_port = datagram.src_port, datagram.dst_port
        if DNS_PORT not in (src_port, dst_port):
            key = flow_key(_UDP, datagram.src, src_port, datagram.dst, dst_port)
            if self._table.count(key, packet):
                return []
        if SERVER_PORT in (src_port, dst_port) and is_likely_dhcp(datagram.payload):
            self._take_dhcp(datagram, packet.interface)
            return []
        if not is_likely_dns(datagram.payload):
            is_dns_port = src_port in DNS_PORTS or dst_port in DNS_PORTS
            return self._flows.read_datagram(datagram, packet, is_dns_port=is_dns_port)
        message = parse_message(datagram.payload)
        if self._is_own_lookup is not None and self._is_own_lookup(message.qname, _question(datagram.payload)):
            self.counters.own_lookups += 1
            return []
        if message.is_response:
            five_tuple = FiveTuple(_UDP, datagram.dst, dst_port, datagram.src, src_port)
        else:
            five_tuple = FiveTuple(_UDP, datagram.src, src_port, datagram.dst, dst_port)
        observations = self._take_dns(message, five_tuple, datagram.ts_ns, packet.interface, packet.wire_octets)
        if not _is_multicast(five_tuple.src):
            self.kept.add(self._dns.newest_key, packet)
        return observations

    def _take_dhcp(self, datagram: Datagram, interface: str) -> None:
        message = read_dhcp(datagram.payload)
        if message is not None and self._on_dhcp is not None:
            self._on_dhcp(message, interface, datagram.ts_ns)

    def _take_dns(
        self, message: DnsMessage, five_tuple: FiveTuple, now_ns: int, interface: str, wire_octets: int = 0
    ) -> list[Observation]:
        """Return what a message between client and server (`five_tuple`) makes known, and learn what it answers."""
        self.counters.dns_messages += 1
        client = five_tuple.src
        if _is_multicast(client):  # an answer to nobody in particular
            return []
        self._told_names.asked.learn(client, message, now_ns)
        if message.is_response:
            self._told_names.learn(client, message, now_ns)
        return self._dns.add(message, five_tuple, now_ns, interface, wire_octets=wire_octets)

    def _set_due(self) -> None:
        dns_ns, flows_ns = self._dns.due_ns, self._flows.due_ns
        self._due_ns = dns_ns if dns_ns < flows_ns else flows_ns  # noqa: FURB136 - min() makes objects of both

    def _gather_counters(self) -> None:
        self.counters.fragments_evicted = self._fragments.evicted
        self.counters.dns_evicted = self._dns.evicted
        self.counters.shapes_evicted = self._shapes.evicted
        self.counters.names_evicted = self._told_names.evicted
        self.counters.asked_evicted = self._told_names.asked.evicted
        self.counters.kept_evicted = self.kept.evicted


def _question(payload: bytes) -> bytes:
    """Return the name of the one question as it stands on the wire, without the root label (RFC 1035 section 4.1)."""
    return payload[DNS_HEADER_OCTETS : payload.find(0, DNS_HEADER_OCTETS)]


def _is_multicast(address: bytes) -> bool:
    return 224 <= address[0] <= 239 if len(address) == 4 else address[0] == 0xFF  # noqa: PLR2004 - 224.0.0.0/4, ff00::/8
