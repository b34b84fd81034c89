"""Flow heads of a pcap file without the compiled part: TCP directions that have sent their head are passed over.

What is passed over, and counted for its direction, are TCP segments without SYN, FIN or RST, over IPv4 without options
or IPv6, with one VLAN tag at most. Everything else goes to the pipeline, which passes over quiet flows itself. All
directions are forgotten, so that each gets another head, when there are too many, after the flow table's idle time, and
when the clock goes back: that costs time and loses nothing.

Cost: some 0.6 us a packet that is passed over, 0.2 us of it a bare walk (bench/offline.py measures that, too); of what
this loop makes only the directions stay.
"""

import struct

from sensor.capture.chunks import ChunkReader
from sensor.capture.pcap import FILE_HEADER_OCTETS, MAX_RECORD_OCTETS, PcapFormat
from sensor.errors import MalformedCapture
from sensor.flow import TCP_IDLE_NS, Count, Flow, reverse_key
from sensor.packet import LinkType, Packet
from sensor.reassembly import HEAD_OCTETS

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
_BULK = "12x3s5xHxB2x12s9xB"  # of an IPv4 frame: type and version, fragment, protocol, addresses and ports, TCP flags
_FRAGMENT_BITS = 0xBFFF  # all but "don't fragment"
_ETHERNET = int(LinkType.ETHERNET)
_SECOND_NS = 1_000_000_000
_read_u16 = struct.Struct(">H").unpack_from
_read_ipv4 = struct.Struct(">20xHxB2x12s9xB").unpack_from
_read_ipv6 = struct.Struct(">20xBx36s9xB").unpack_from


class _Direction:
    """What a direction has sent, and what was counted of it: frames, octets on the wire, time of the last."""

    __slots__ = ("fraction", "octets", "packets", "seconds", "sent")

    def __init__(self) -> None:
        self.sent = self.octets = self.packets = self.seconds = self.fraction = 0


class PlainHeads:
    """As `sensor.capture.heads.HeadRecords`."""

    def __init__(self, chunks: ChunkReader, head: bytes, file_format: PcapFormat) -> None:
        self.truncated = False
        self.passed_over = 0
        self.last_ns = 0
        self.counts: list[tuple[int, Count]] = []
        self.is_back = False
        self._chunks = chunks
        self._format = file_format
        order = file_format.byte_order
        link = file_format.record_header_octets - _HEADER_OCTETS
        self._read_header = struct.Struct(f"{order}IIII").unpack_from
        self._read_bulk = struct.Struct(f"{order}IIII{link}x{_BULK}").unpack_from
        self._fragment_bits = struct.unpack(f"{order}H", _FRAGMENT_BITS.to_bytes(2))[0]
        self._buffer, self._at, self._consumed = head, FILE_HEADER_OCTETS, 0
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
        self.truncated = not taken and self._at < len(self._buffer)
        return heads if taken else None

    def _fill(self) -> bool:
        """Read on behind what is left of the buffer and return whether there was more."""
        chunk = self._chunks.read()
        self._consumed += self._at
        self._buffer, self._at = self._buffer[self._at :] + chunk, 0
        return bool(chunk)

    def _damaged_octets(self) -> int:
        """Return the size that the next record says it has if that cannot be, else 0."""
        if self._at + self._format.record_header_octets > len(self._buffer):
            return 0
        octets: int = self._read_header(self._buffer, self._at)[2]
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
        """Return how many records of the buffer were taken, up to one from `until_s` on; heads into `heads`.

        Those of a quiet IPv4 direction, nearly all, take one `unpack` and one look-up; `_take_record` takes others.
        """
        buffer, at, header_octets = self._buffer, self._at, self._format.record_header_octets
        read_bulk, find, fragment_bits = self._read_bulk, self._directions.get, self._fragment_bits
        end = len(buffer)
        last_bulk = end - header_octets - _IPV4_FLAGS_AT - 1
        second, last, records = self._second, at, 0
        while records < WALK_RECORDS and second < until_s:
            stop = 0
            if at <= last_bulk:
                seconds, fraction, captured, wire, kind, fragment, protocol, key, flags = read_bulk(buffer, at)
                direction = find(key)
                if (
                    direction is not None
                    and seconds == second
                    and kind == _IPV4
                    and protocol == _TCP
                    and not (flags & _FIN_SYN_RST or fragment & fragment_bits)
                    and _IPV4_FLAGS_AT < captured <= MAX_RECORD_OCTETS
                    and (stop := at + header_octets + captured) <= end
                    and (direction.sent >= HEAD_OCTETS or not _payload_octets(buffer, at + header_octets, is_ipv4=True))
                ):
                    direction.octets += wire if wire > captured else captured  # noqa: FURB136 - max() costs a tenth
                    direction.packets += 1
                    direction.seconds, direction.fraction = seconds, fraction
                else:
                    stop = 0
            if not stop:
                stop = self._take_record(at, heads)
                second = self._second
                if not stop:
                    break
            last, at = at, stop
            records += 1
        self._at = at
        if records:
            self.last_ns = self._time(*self._read_header(buffer, last)[:2])
        return records

    def _take_record(self, at: int, heads: list[Packet]) -> int:
        """Count the record at `at`, or put it among `heads`; return where it ends, 0 if it is not all there."""
        buffer, start = self._buffer, at + self._format.record_header_octets
        if start > len(buffer):
            return 0
        seconds, fraction, captured, wire = self._read_header(buffer, at)
        stop: int = start + captured
        if captured > MAX_RECORD_OCTETS or stop > len(buffer):
            return 0
        if not self._second - _CLOCK_STEP_S <= seconds <= self._until_s:
            self._forget(seconds, len(heads))
        self._second = seconds
        wire = max(wire, captured)
        direction = self._find_spent(buffer, start, stop, len(heads))
        if direction is None:
            heads.append(Packet(self._time(seconds, fraction), _ETHERNET, buffer[start:stop], wire))
        else:
            direction.octets += wire
            direction.packets += 1
            direction.seconds, direction.fraction = seconds, fraction
        return stop

    def _find_spent(self, buffer: bytes, frame: int, stop: int, heads: int) -> _Direction | None:
        """Return the TCP direction of a frame if it has sent its head; if not, note what it sends."""
        kind = buffer[frame + 12 : frame + 15]
        if kind[:2] == _TAG:
            frame += 4
            kind = buffer[frame + 12 : frame + 15]
        fragment = 0
        if kind == _IPV4 and frame + _IPV4_FLAGS_AT < stop:
            fragment, protocol, key, flags = _read_ipv4(buffer, frame)
        elif kind == _IPV6 and frame + _IPV6_FLAGS_AT < stop:
            protocol, key, flags = _read_ipv6(buffer, frame)
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
        return self._spend(key, direction, _payload_octets(buffer, frame, is_ipv4=kind == _IPV4))

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


def _payload_octets(buffer: bytes, frame: int, *, is_ipv4: bool) -> int:
    if is_ipv4:
        octets: int = _read_u16(buffer, frame + 16)[0] - 20 - (buffer[frame + 46] >> 4) * 4
    else:
        octets = _read_u16(buffer, frame + 18)[0] - (buffer[frame + 66] >> 4) * 4
    return octets
