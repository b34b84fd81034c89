"""Flow heads of a pcap file without the compiled part: TCP directions that have sent their head are passed over.

What is passed over, and counted for its direction, are TCP segments without SYN, FIN or RST, over IPv4 without options
or IPv6, with one VLAN tag at most. Everything else goes to the pipeline, which passes over quiet flows itself. All
directions are forgotten, so that each gets another head, when there are too many, after the flow table's idle time, and
when the clock goes back: that costs time and loses nothing.

Cost: some 0.6 us a packet that is passed over, 0.2 us of it a bare walk (bench/offline.py measures that, too); of what
this loop makes only the directions stay. That is the interpreter's: to walk with regular expressions, one alternative a
length, costs more, and so does to read a run of records first and to count it afterwards.
"""

import struct

from sensor.capture.offline.chunks import ChunkReader
from sensor.capture.offline.pcap import FILE_HEADER_OCTETS, MAX_RECORD_OCTETS, PcapFormat
from sensor.errors import MalformedCapture
from sensor.flows.flow import TCP_IDLE_NS, Count, Flow, reverse_key
from sensor.flows.reassembly import HEAD_OCTETS
from sensor.packet import LinkType, Packet

BATCH_RECORDS = 8192
BATCH_HEADS = 256
WALK_RECORDS = 512
SLICE_S = 3
DIRECTIONS = 262_144

_TCP = 6
_FIN_SYN_RST = 0x07
_DNS_PORTS = frozenset(port.to_bytes(2, "big") for port in (53, 5353, 5355))
_TAG = b"\x81\x00"
_IPV4 = b"\x08\x00\x45"
_IPV6 = b"\x86\xdd\x60"
_SYN = 0x02
_IPV4_FLAGS_AT = 47
_IPV6_FLAGS_AT = 67
_CLOCK_STEP_S = 60
_IDLE_S = TCP_IDLE_NS // 1_000_000_000
_HEADER_OCTETS = 16
_IPV4_FIELDS = "12xHB5xHxB2x12s9xB"  # of a frame: type, version, fragment, protocol, addresses and ports, TCP flags
_IPV6_FIELDS = "14xB5xBx36s9xB"  # the same but for type and fragment
_IPV4_HEADER_OCTETS = 20
_IPV4_FIRST = 0x45  # octet: version, and the length of the header without options
_IPV6_FIRST = 0x60  # octet: version, and half of the traffic class
_TAG_OCTETS = 4
_SHORTEST_OCTETS = _IPV4_FLAGS_AT + 1 + _TAG_OCTETS  # the fields of IPv4, with or without a tag
_LONGEST_OCTETS = _IPV6_FLAGS_AT + 1 + _TAG_OCTETS
_FRAGMENT_BITS = 0xBFFF  # all but "don't fragment"
_ETHERNET = int(LinkType.ETHERNET)
_SECOND_NS = 1_000_000_000
_read_ipv4_octets = struct.Struct(">16xH28xB").unpack_from  # total length, data offset
_read_ipv6_octets = struct.Struct(">18xH46xB").unpack_from  # payload length, data offset
_read_ipv4 = struct.Struct(">20xHxB2x12s9xB").unpack_from
_read_ipv6 = struct.Struct(">20xBx36s9xB").unpack_from


class _Direction:
    """What a direction has sent, and what was counted of it: frames, octets on the wire, time of the last."""

    __slots__ = ("fraction", "octets", "packets", "seconds", "sent")

    def __init__(self) -> None:
        self.sent = self.octets = self.packets = self.seconds = self.fraction = 0


class _Layout:
    """What reads a record with its frame, and the numbers to compare with, in the byte order of the file."""

    def __init__(self, file_format: PcapFormat) -> None:
        order, link = file_format.byte_order, file_format.record_header_octets - _HEADER_OCTETS
        self.header_octets = file_format.record_header_octets
        self.read_header = struct.Struct(f"{order}IIII").unpack_from
        self.read_record = struct.Struct(f"{order}IIII{link}x{_IPV4_FIELDS}").unpack_from
        self.read_ipv4 = struct.Struct(f"{order}{_IPV4_FIELDS}").unpack_from
        self.read_ipv6 = struct.Struct(f"{order}{_IPV6_FIELDS}").unpack_from
        self.ipv4, self.ipv6, self.tag, self.fragment_bits = struct.unpack(
            f"{order}HHHH", struct.pack(">HHHH", 0x0800, 0x86DD, 0x8100, _FRAGMENT_BITS)
        )


class PlainHeads:
    """As `sensor.capture.offline.heads.HeadRecords`."""

    def __init__(self, chunks: ChunkReader, head: bytes, file_format: PcapFormat) -> None:
        self.truncated = False
        self.passed_over = 0
        self.last_ns = 0
        self.counts: list[tuple[int, Count]] = []
        self.is_back = False
        self._chunks = chunks
        self._format = file_format
        self._layout = _Layout(file_format)
        self._window = bytearray(MAX_RECORD_OCTETS + file_format.record_header_octets)  # any record; none larger fits
        self._window[: len(head)] = head
        self._at, self._end, self._consumed = FILE_HEADER_OCTETS, len(head), 0
        self._directions: dict[bytes, _Direction] = {}
        self._second = 0  # of the last record
        self._until_s = 0  # then no direction is known any longer

    def read(self) -> list[Packet] | None:
        """Return the heads among the next records, perhaps none, or None at the end. Some 256 heads end a batch.

        Raises:
            MalformedCapture: a record larger than any snap length.
            CaptureError: the device fails.
        """
        heads: list[Packet] = []
        self.counts = []
        taken, until_s = 0, self._second + SLICE_S
        while taken < BATCH_RECORDS and len(heads) < BATCH_HEADS and self._second < until_s:
            records = self._walk(heads, until_s)
            taken += records
            if len(self._directions) > DIRECTIONS:
                self._forget(self._second, len(heads))
            if records:
                continue
            damaged = self._damaged_octets()
            if damaged and not taken:
                raise MalformedCapture(self._consumed + self._at, f"a record of {damaged} octets")
            if damaged or not self._fill():
                break
        self.passed_over += taken - len(heads)
        self.truncated = not taken and self._at < self._end
        return heads if taken else None

    def _fill(self) -> bool:
        """Move what is left to the front of the window and return whether there is more of the file."""
        rest = self._window[self._at : self._end]
        self._window[: len(rest)] = rest
        self._consumed += self._at
        octets = self._chunks.read_into(memoryview(self._window)[len(rest) :])
        self._at, self._end = 0, len(rest) + octets
        return octets > 0

    def _damaged_octets(self) -> int:
        """Return the size that the next record says it has if that cannot be, else 0."""
        if self._at + self._format.record_header_octets > self._end:
            return 0
        octets: int = self._layout.read_header(self._window, self._at)[2]
        return octets if octets > MAX_RECORD_OCTETS else 0

    def count_apart(self, flow: Flow) -> None:
        """Add to `flow` what was counted of it until now and not handed out."""
        for side, key in enumerate((flow.key, reverse_key(flow.key))):
            counted = self._take(key)
            if counted is not None:
                flow.add(counted, side)

    def _take(self, key: bytes) -> Count | None:
        direction = self._directions.get(key)
        if direction is None or not direction.packets:
            return None
        last_ns = self._time(direction.seconds, direction.fraction)
        counted = Count(key, direction.octets, 0, direction.packets, last_ns)
        direction.octets = direction.packets = 0
        return counted

    def _time(self, seconds: int, fraction: int) -> int:
        return seconds * _SECOND_NS + fraction * self._format.fraction_ns

    def _walk(self, heads: list[Packet], until_s: int) -> int:
        """Return how many records of the window were taken, up to one from `until_s` on; heads into `heads`.

        Those of a quiet direction, nearly all, take one `unpack`, another with a tag or over IPv6, and one look-up;
        `_take_record` takes others.
        """
        window, at, end, layout = self._window, self._at, self._end, self._layout
        header_octets, fragment_bits = layout.header_octets, layout.fragment_bits
        ipv4, ipv6, tag = layout.ipv4, layout.ipv6, layout.tag
        read_record, read_ipv4, read_ipv6 = layout.read_record, layout.read_ipv4, layout.read_ipv6
        find = self._directions.get
        last_whole = end - header_octets - _LONGEST_OCTETS
        second, last = self._second, at
        for records in range(WALK_RECORDS):
            if at <= last_whole:
                seconds, fraction, captured, wire, kind, first, fragment, protocol, key, flags = read_record(window, at)
                frame = at + header_octets
                if kind == tag:
                    frame += _TAG_OCTETS
                    kind, first, fragment, protocol, key, flags = read_ipv4(window, frame)
                if kind == ipv4:
                    is_plain = first == _IPV4_FIRST and captured >= _SHORTEST_OCTETS and not fragment & fragment_bits
                elif kind == ipv6:
                    first, protocol, key, flags = read_ipv6(window, frame)
                    is_plain = first == _IPV6_FIRST and captured >= _LONGEST_OCTETS
                else:
                    is_plain = False
                if (
                    is_plain
                    and seconds == second
                    and protocol == _TCP
                    and not flags & _FIN_SYN_RST
                    and (direction := find(key)) is not None
                    and (direction.sent >= HEAD_OCTETS or not _payload_octets(window, frame, is_ipv4=kind == ipv4))
                    and (stop := at + header_octets + captured) <= end
                ):
                    direction.octets += wire if wire > captured else captured  # noqa: FURB136 - max() costs a tenth
                    direction.packets += 1
                    direction.seconds, direction.fraction = seconds, fraction
                    last, at = at, stop
                    continue
            stop = self._take_record(at, heads)
            if not stop:
                taken = records
                break
            second = self._second
            last, at = at, stop
            if second >= until_s:
                taken = records + 1
                break
        else:
            taken = WALK_RECORDS
        self._at = at
        if taken:
            self.last_ns = self._time(*layout.read_header(window, last)[:2])
        return taken

    def _take_record(self, at: int, heads: list[Packet]) -> int:
        """Count the record at `at`, or put it among `heads`; return where it ends, 0 if it is not all there."""
        window, start = self._window, at + self._format.record_header_octets
        if start > self._end:
            return 0
        seconds, fraction, captured, wire = self._layout.read_header(window, at)
        stop: int = start + captured
        if captured > MAX_RECORD_OCTETS or stop > self._end:
            return 0
        if not self._second - _CLOCK_STEP_S <= seconds <= self._until_s:
            self._forget(seconds, len(heads))
        self._second = seconds
        wire = max(wire, captured)
        direction = self._find_spent(window, start, stop, len(heads))
        if direction is None:
            heads.append(Packet(self._time(seconds, fraction), _ETHERNET, bytes(window[start:stop]), wire))
        else:
            direction.octets += wire
            direction.packets += 1
            direction.seconds, direction.fraction = seconds, fraction
        return stop

    def _find_spent(self, window: bytearray, frame: int, stop: int, heads: int) -> _Direction | None:
        """Return the TCP direction of a frame if it has sent its head; if not, note what it sends."""
        kind = window[frame + 12 : frame + 15]
        if kind[:2] == _TAG:
            frame += 4
            kind = window[frame + 12 : frame + 15]
        fragment = 0
        if kind == _IPV4 and frame + _IPV4_FLAGS_AT < stop:
            fragment, protocol, key, flags = _read_ipv4(window, frame)
        elif kind == _IPV6 and frame + _IPV6_FLAGS_AT < stop:
            protocol, key, flags = _read_ipv6(window, frame)
        else:
            return None
        if protocol != _TCP or fragment & _FRAGMENT_BITS:
            return None
        if flags & _FIN_SYN_RST:
            if flags & _SYN:
                self._renew(key, heads)
            return None
        direction = self._directions.get(key)
        if direction is not None and direction.sent >= HEAD_OCTETS:
            return direction
        return self._spend(key, direction, _payload_octets(window, frame, is_ipv4=kind == _IPV4))

    def _spend(self, key: bytes, direction: _Direction | None, payload_octets: int) -> _Direction | None:
        """Note what a direction sends; return it if that is nothing but one more acknowledgement."""
        if payload_octets > 0:
            if direction is None:
                if key[-4:-2] in _DNS_PORTS or key[-2:] in _DNS_PORTS:  # every look-up of a connection counts
                    return None
                direction = self._directions[key] = _Direction()
            direction.sent += payload_octets
            return None
        return direction if payload_octets == 0 else None

    def _renew(self, key: bytes, heads: int) -> None:
        """Forget both directions: a SYN begins them anew."""
        for each in (key, reverse_key(key)):
            self._hand_out(each, heads)
            self._directions.pop(each, None)

    def _forget(self, now_s: int, heads: int) -> None:
        for key in self._directions:
            self._hand_out(key, heads)
        self._directions.clear()
        self._until_s = now_s + _IDLE_S

    def _hand_out(self, key: bytes, heads: int) -> None:
        counted = self._take(key)
        if counted is not None:
            self.counts.append((heads, counted))


def _payload_octets(window: bytearray, frame: int, *, is_ipv4: bool) -> int:
    if is_ipv4:
        octets, offset = _read_ipv4_octets(window, frame)
        octets -= _IPV4_HEADER_OCTETS
    else:
        octets, offset = _read_ipv6_octets(window, frame)
    payload_octets: int = octets - (offset >> 4) * 4
    return payload_octets
