"""Flow heads of a pcap file without the compiled part: TCP directions that have sent their head are passed over.

What is passed over, and counted for its direction, are TCP segments without SYN, FIN or RST. So are, uncounted, those
of connections that the screen has passed over, SYNs excepted. Everything else goes through the screen to the pipeline,
which passes over quiet flows itself. All directions are forgotten, so that each gets another head, when there are too
many, after the flow table's idle time, and when the clock goes back: that costs time and loses nothing.

Bursts of a connection, most of a file, are found and passed over as one (`bursts`). Cost: some 0.25 us a packet of what
the screen has passed over, 0.6 us more of what is counted, 1.3 us of what is in no burst (bench/offline.py).
"""

import re
import struct

from sensor.capture.offline.bursts import KEYS, SECOND, Bursts
from sensor.capture.offline.chunks import ChunkReader
from sensor.capture.offline.directions import SECOND_NS, Direction, Directions
from sensor.capture.offline.pcap import FILE_HEADER_OCTETS, MAX_RECORD_OCTETS, PcapFormat
from sensor.capture.offline.window import Window
from sensor.capture.screening.plain import PlainScreen
from sensor.capture.screening.plain_headers import Headers, read_headers
from sensor.capture.screening.screen import Screen
from sensor.errors import MalformedCapture
from sensor.flows.flow import TCP_IDLE_NS, Count, Flow, FlowKey, reverse_key
from sensor.flows.reassembly import HEAD_OCTETS
from sensor.packet import LinkType, Packet

BATCH_RECORDS = 16_384
BATCH_HEADS = 256
WALK_RECORDS = 1024
SLICE_S = 3

_TCP = 6
_TRANSPORTS = frozenset((_TCP, 17, 58))  # no extension header: with UDP and ICMPv6
_FIN_SYN_RST = 0x07
_SYN = 0x02
_TYPE_IPV4 = 0x0800
_TYPE_IPV6 = 0x86DD
_TYPE_TAG = 0x8100
_TAG_OCTETS = 4
_IPV4_FIRST = 0x45  # octet: version, and the length of the header without options
_IPV6_VERSION = 6  # the upper half of the first octet
_IPV4_LEAST = 48  # octets of a frame, TCP flags included
_IPV6_LEAST = 68
_IPV4_KEY_AT = 26
_IPV6_KEY_AT = 22
_IPV4_KEY_OCTETS = 12
_IPV4_HEADER_OCTETS = 20
_FRAGMENT_BITS = 0x3FFF
_CLOCK_STEP_S = 60
_IDLE_S = TCP_IDLE_NS // SECOND_NS
_ETHERNET = int(LinkType.ETHERNET)
# Of a frame: type, version, length, fragment, protocol, addresses and ports, data offset, TCP flags.
_read_ipv4 = struct.Struct(">12xHBxH2xHxB2x12s8xBB").unpack_from
_read_ipv6 = struct.Struct(">14xB3xHBx36s8xBB").unpack_from  # the same but for type and fragment
_read_ipv4_octets = struct.Struct(">16xH28xB").unpack_from  # length, data offset
_read_ipv6_octets = struct.Struct(">18xH46xB").unpack_from

Segment = tuple[FlowKey, int, int]  # with its flags and how many octets it carries


class PlainHeads:
    """As `sensor.capture.offline.heads.HeadRecords`."""

    def __init__(self, chunks: ChunkReader, head: bytes, file_format: PcapFormat, screen: Screen | None = None) -> None:
        self.truncated = False
        self.passed_over = 0
        self.last_ns = 0
        self.counts: list[tuple[int, Count]] = []
        self.is_back = False
        self._header_octets, self._fraction_ns = file_format.record_header_octets, file_format.fraction_ns
        self._read_header = struct.Struct(f"{file_format.byte_order}IIII").unpack_from
        self._window = Window(chunks, head, FILE_HEADER_OCTETS)
        self._screen = screen
        self._passed: dict[FlowKey, int] = screen.passed if isinstance(screen, PlainScreen) else {}
        self._directions = Directions(file_format.fraction_ns)
        self._nobody = Direction()  # counts what the screen has passed over: nobody asks what that carries
        self._bursts = Bursts(file_format)
        self._picked: list[Packet] = []  # not yet through the screen
        self._heads: list[Packet] = []
        self._second = 0  # of the last record
        self._second_octets = b""
        self._last = self._window.at  # where what was taken last begins
        self._until_s = 0  # then no direction is known any longer
        self._failure: MalformedCapture | None = None  # to be told once all before it was handed out

    def read(self) -> list[Packet] | None:
        """Return the heads among the next records, perhaps none, or None at the end. Some 256 heads end a batch.

        Raises:
            MalformedCapture: a record larger than any snap length.
            CaptureError: the device fails.
        """
        self._heads, self.counts = [], []
        taken, until_s = 0, self._second + SLICE_S
        while taken < BATCH_RECORDS and len(self._heads) < BATCH_HEADS and self._second < until_s:
            records = self._walk(until_s)
            taken += records
            self._sift()
            if self._directions.is_full:
                self._forget(self._second)
            if records:
                continue
            if damaged := self._damaged_octets():
                self._failure = MalformedCapture(self._window.offset, f"a record of {damaged} octets")
            if self._failure is not None or not self._fill():
                break
        self._note_last()
        if self._screen is not None:
            self._heads += self._screen.advance(self.last_ns, is_end=not taken)
        if self._failure is not None and not taken and not self._heads:
            raise self._failure
        self.passed_over += taken - len(self._heads)
        self.truncated = self._failure is None and not taken and self._window.has(1)
        return self._heads if taken or self._heads else None

    def count_apart(self, flow: Flow) -> None:
        """Add to `flow` what was counted of it until now and not handed out."""
        for side, key in enumerate((flow.key, reverse_key(flow.key))):
            counted = self._directions.take(key)
            if counted is not None:
                flow.add(counted, side)

    def _fill(self) -> bool:
        """Read more of the file, behind what is left, and return whether there is more."""
        self._note_last()
        try:
            has_more = self._window.fill()
        except MalformedCapture as failure:  # of what it is compressed with
            self._failure = failure
            return False
        self._last = self._window.at
        self._bursts.learn(self._window.octets, self._window.at, self._window.end)
        return has_more

    def _damaged_octets(self) -> int:
        """Return the size that the next record says it has if that cannot be, else 0."""
        if not self._window.has(self._header_octets):
            return 0
        octets: int = self._read_header(self._window.octets, self._window.at)[2]
        return octets if octets > MAX_RECORD_OCTETS else 0

    def _sift(self) -> None:
        """Let the screen see what was picked, so that it says at once which connections it passes over."""
        if self._picked:
            self._heads += self._screen.sift(self._picked) if self._screen is not None else self._picked
            self._picked = []

    def _walk(self, until_s: int) -> int:
        """Return how many records of the window were taken, some 1,024 at most, up to one from `until_s` on."""
        window, at, end, match = self._window.octets, self._window.at, self._window.end, self._bursts.match
        ipv4, ipv6, tagged = KEYS
        records_in, passed, counted = self._bursts.records, self._passed, self._directions.by_key
        second = self._second_octets
        taken, last = 0, self._last
        while taken < WALK_RECORDS:
            burst = match(window, at, end)
            if burst is not None and burst[SECOND] == second:
                key = burst[ipv4] or burst[ipv6] or burst[tagged]
                if key in passed:
                    taken += records_in[burst.lastindex]  # type: ignore[index]  # it has groups
                    last, at = at, burst.end()
                    continue
                if key in counted:
                    records, stop = self._count_burst(burst)
                    if records:
                        taken += records
                        last, at = at, stop
                        continue
            stop = self._take_record(at)
            if not stop:
                break
            taken += 1
            last, at = at, stop
            second = self._second_octets
            if self._second >= until_s:
                break
        self._window.at, self._last = at, last
        return taken

    def _note_last(self) -> None:
        """Note the time of the last record that was taken of the window; what was taken last may be a burst."""
        window, at, stop = self._window.octets, self._last, self._window.at
        while at < stop:
            seconds, fraction, captured, _ = self._read_header(window, at)
            self.last_ns = seconds * SECOND_NS + fraction * self._fraction_ns
            at += self._header_octets + captured

    def _count_burst(self, burst: re.Match[bytes]) -> tuple[int, int]:
        """Count a burst of directions that have sent their head; return how many records, and where the rest begins."""
        window, read_header, header_octets = self._window.octets, self._read_header, self._header_octets
        group = self._bursts.keys[burst.lastindex or 0]
        key, (at, stop) = burst[group], burst.span()
        key_at = burst.start(group) - at
        forth, back = self._directions.by_key.get(key), self._directions.by_key.get(reverse_key(key))
        records = 0
        while at < stop:
            direction = forth if window.startswith(key, at + key_at) else back
            if direction is None or (direction.sent < HEAD_OCTETS and _payload_octets(window, at + key_at, len(key))):
                break
            seconds, fraction, captured, wire = read_header(window, at)
            direction.octets += wire if wire > captured else captured  # noqa: FURB136 - max() costs a tenth
            direction.packets += 1
            direction.seconds, direction.fraction = seconds, fraction
            at += header_octets + captured
            records += 1
        return records, at

    def _take_record(self, at: int) -> int:
        """Pick the record at `at`, or count it; return where it ends, 0 if it is not all there."""
        window, start, end = self._window.octets, at + self._header_octets, self._window.end
        if start > end:
            return 0
        seconds, fraction, captured, wire = self._read_header(window, at)
        stop: int = start + captured
        if captured > MAX_RECORD_OCTETS or stop > end:
            return 0
        if seconds != self._second:
            self._begin_second(seconds, bytes(window[at : at + 4]))
        if wire < captured:  # noqa: PLR1730 - max() would cost a tenth
            wire = captured
        segment = _read_segment(window, start, stop, wire)
        direction = self._find_spent(segment) if segment is not None else None
        if direction is not None:
            direction.count(seconds, fraction, wire)
            return stop
        ts_ns = seconds * SECOND_NS + fraction * self._fraction_ns
        self._picked.append(Packet(ts_ns, _ETHERNET, bytes(window[start:stop]), wire))
        if segment is not None and segment[0] in self._passed:  # a SYN: what follows is perhaps another connection
            self._sift()
        return stop

    def _begin_second(self, seconds: int, octets: bytes) -> None:
        if not self._second - _CLOCK_STEP_S <= seconds <= self._until_s:
            self._forget(seconds)
        self._second, self._second_octets = seconds, octets

    def _find_spent(self, segment: Segment) -> Direction | None:
        """Return the direction of a segment that is passed over; if it is not, note what the segment carries."""
        key, flags, payload_octets = segment
        if flags & _SYN:
            self._hand_out(self._directions.renew(key))
            return None
        if key in self._passed:
            return self._nobody
        return self._directions.spend(key, payload_octets) if not flags & _FIN_SYN_RST else None

    def _forget(self, now_s: int) -> None:
        self._hand_out(self._directions.forget())
        if isinstance(self._screen, PlainScreen):
            self._screen.forget_flows()
        self._until_s = now_s + _IDLE_S

    def _hand_out(self, counts: list[Count]) -> None:
        """Put what was counted behind the heads until now."""
        if counts:
            self._sift()
            self.counts += [(len(self._heads), counted) for counted in counts]


def _read_segment(window: bytearray, frame: int, stop: int, wire_octets: int) -> Segment | None:
    """Return what a frame carries if it is a TCP segment and no fragment."""
    captured, at = stop - frame, frame
    if captured < _IPV4_LEAST:
        return None
    kind, first, octets, fragment, protocol, key, offset, flags = _read_ipv4(window, at)
    if kind == _TYPE_TAG and captured >= _IPV4_LEAST + _TAG_OCTETS:
        at += _TAG_OCTETS
        captured -= _TAG_OCTETS
        kind, first, octets, fragment, protocol, key, offset, flags = _read_ipv4(window, at)
    if kind == _TYPE_IPV4 and first == _IPV4_FIRST and not fragment & _FRAGMENT_BITS:
        octets -= _IPV4_HEADER_OCTETS
    elif kind == _TYPE_IPV6 and captured >= _IPV6_LEAST:
        first, octets, protocol, key, offset, flags = _read_ipv6(window, at)
        if first >> 4 != _IPV6_VERSION or protocol not in _TRANSPORTS:
            return _read_odd(bytes(window[frame:stop]), wire_octets)
    else:
        return _read_odd(bytes(window[frame:stop]), wire_octets)
    return (key, flags, octets - (offset >> 4) * 4) if protocol == _TCP else None


def _read_odd(data: bytes, wire_octets: int) -> Segment | None:
    """As `_read_segment`, of frames that are laid out in another way."""
    headers = read_headers(Packet(0, _ETHERNET, data, wire_octets))
    if not isinstance(headers, Headers) or headers.protocol != _TCP:
        return None
    return headers.key, headers.flags, headers.octets


def _payload_octets(window: bytearray, key_at: int, key_octets: int) -> int:
    """Return how many octets a plain segment carries whose addresses stand at `key_at`."""
    if key_octets == _IPV4_KEY_OCTETS:
        octets, offset = _read_ipv4_octets(window, key_at - _IPV4_KEY_AT)
        octets -= _IPV4_HEADER_OCTETS
    else:
        octets, offset = _read_ipv6_octets(window, key_at - _IPV6_KEY_AT)
    payload_octets: int = octets - (offset >> 4) * 4
    return payload_octets
