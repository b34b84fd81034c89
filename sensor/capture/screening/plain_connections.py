"""TCP connections: held from the first packet on until a ServerHello answers a plain ClientHello of no interest.

As `screen_segment` of screen_flows.h.
"""

from typing import Final

from sensor.capture.screening.plain_dns import is_like_answer
from sensor.capture.screening.plain_held import (
    HANDED,
    HELD,
    LARGEST_HELD,
    MOST_HELD,
    NO_PACKETS,
    OVER,
    WAITING,
    Flow,
    Held,
)
from sensor.capture.screening.plain_hello import is_beginning, is_server_hello, read_hello
from sensor.capture.screening.plain_names import Names
from sensor.capture.screening.plain_suspects import Suspects
from sensor.capture.screening.plain_tables import first_quarter
from sensor.capture.screening.plain_told import Told
from sensor.errors import NeedMoreData
from sensor.flows.flow import TCP_IDLE_NS, reverse_key
from sensor.packet import Packet

CONNECTIONS: Final = 8_192  # held or handed out
PASSED: Final = 40_960
HELLO_OCTETS: Final = 4096
MOST_SEGMENTS: Final = 8

_FIN_RST: Final = 0x05
_SYN: Final = 0x02
_RST: Final = 0x04
_ACK: Final = 0x10
_RST_ACK: Final = _RST | _ACK
_SYN_ACK: Final = _SYN | _ACK
_NO_START: Final = -1
_MASK: Final = 0xFFFFFFFF
_HALF: Final = 0x80000000
_DNS_PORT: Final = b"\x00\x35"
_DNS_PORTS: Final = frozenset(port.to_bytes(2, "big") for port in (53, 5353, 5355))

_Parts = tuple[tuple[int, bytes], ...]  # offsets and octets


class _Side:
    """One direction of a connection; `start` is the sequence number of its first octet, -1 if it is not known."""

    __slots__ = ("connection", "key", "start")

    def __init__(self, connection: "_Connection", key: bytes) -> None:
        self.connection = connection
        self.key = key
        self.start = _NO_START


class _Connection(Flow):
    """A connection, of which `table` has both `sides`.

    `opener` sent its SYN, `speaker` what may be a hello, of which `parts` came: offset and octets.
    """

    __slots__ = ("has_hello", "is_alone", "opener", "parts", "sides", "speaker", "table")

    sides: tuple[_Side, ...]

    def __init__(self, table: dict[bytes, _Side], key: bytes) -> None:
        self.table = table
        self.ends = key[:-4]
        self.state = HELD
        self.packets = NO_PACKETS
        self.has_hello = False
        self.is_alone = True
        self.opener: _Side | None = None
        self.speaker: _Side | None = None
        self.parts: _Parts = ()

    def other(self, side: _Side) -> _Side:
        """Return the side that is not `side`."""
        return self.sides[side is self.sides[0]]

    def forget(self) -> None:
        """As `Flow.forget`."""
        for side in self.sides:
            self.table.pop(side.key, None)
        self.sides = ()  # they refer to it
        self.opener = self.speaker = None

    def forget_hello(self) -> None:
        """As `Flow.forget_hello`."""
        self.parts = ()


class Connections:
    """The connections that are held or were handed out.

    `passed` has the keys of both directions of those that nothing came of, each with its start. It stays the same
    object: whoever reads packets may pass over what is without SYN and has a key that is there.
    """

    def __init__(self, names: Names, suspects: Suspects, held: Held, told: Told) -> None:
        self.passed: dict[bytes, int] = {}
        self._sides: dict[bytes, _Side] = {}
        self._names = names
        self._suspects = suspects
        self._held = held
        self._told = told

    def forget(self) -> None:
        """Forget which connections were passed over or handed out."""
        self.passed.clear()
        for key in [key for key, side in self._sides.items() if side.connection.state == HANDED]:
            del self._sides[key]

    def hand_over_all(self) -> None:
        """Hand out what comes from now on of the connections that are neither passed over nor forgotten."""
        for side in self._sides.values():
            side.connection.state = HANDED

    def take(  # noqa: PLR0917 - once a packet: each keyword costs
        self,
        packet: Packet,
        key: bytes,
        seq: int,
        flags: int,
        payload: bytes,
        octets: int,
        now_ns: int,
        found: list[Packet],
    ) -> bool:
        """Tell whether a segment of the direction `key` is to be handed out, behind what of it goes to `found`.

        It has `octets` of payload, of which `payload` was captured.
        """
        if octets and (key[-4:-2] == _DNS_PORT or is_like_answer(payload)):  # it may be an answer that is not read here
            self._suspects.doubt(_receiver(key), now_ns)
        side = self._sides.get(key)
        if side is None:
            if key in self.passed:
                if not flags & _SYN or self.passed[key] == (seq + 1) & _MASK:
                    return False
                self._forget_passed(key)  # a SYN that is no repetition begins another connection
            elif (not octets and not flags & _SYN) or key[-4:-2] in _DNS_PORTS or key[-2:] in _DNS_PORTS:
                return True  # of one that is handed out, or of none
            side = self._begin(key, flags, payload, now_ns, found)
        connection = side.connection
        if connection.state == HANDED:
            if now_ns - connection.last_ns <= TCP_IDLE_NS:
                connection.last_ns = now_ns
                return True
            connection.forget()
            return self.take(packet, key, seq, flags, payload, octets, now_ns, found)
        connection.last_ns = now_ns
        if not self._is_held(side, packet, seq, flags, octets) or (
            octets and not self._take_payload(side, seq, payload, octets, now_ns, found)
        ):
            self._held.hand_over(connection, found)
            return True
        if connection.state != OVER:
            self._held.hold(connection, packet, now_ns, found)
        return False

    def _begin(self, key: bytes, flags: int, payload: bytes, now_ns: int, found: list[Packet]) -> _Side:
        """Begin a connection whose first packet is here."""
        if len(self._sides) >= 2 * CONNECTIONS:
            self._make_room(now_ns, found)
        connection = _Connection(self._sides, key)
        connection.last_ns = now_ns
        if not (flags & _SYN or is_beginning(payload)) or self._suspects.is_suspect(key, now_ns):
            connection.state = HANDED
        other_key = reverse_key(key)
        self.passed.pop(key, None)
        self.passed.pop(other_key, None)
        side, other = connection.sides = _Side(connection, key), _Side(connection, other_key)
        self._sides[other_key] = other
        self._sides[key] = side
        return side

    def _make_room(self, now_ns: int, found: list[Packet]) -> None:
        for key in first_quarter(self._sides):
            side = self._sides.get(key)
            if side is not None and side.connection.packets:
                self._held.give_up(side.connection, now_ns, found)
            if side is not None:
                side.connection.forget()

    def _is_held(self, side: _Side, packet: Packet, seq: int, flags: int, octets: int) -> bool:
        """Tell whether a segment is of the kind that nearly all are, and room for it; note what its flags say.

        Others are evidence of somebody's wit.
        """
        connection = side.connection
        if flags & _SYN:
            start = (seq + 1) & _MASK
            if octets or flags & _FIN_RST or side.start not in {_NO_START, start}:
                return False
        elif octets and flags & _RST_ACK != _ACK:
            return False
        if len(connection.packets) >= MOST_HELD or len(packet.data) > LARGEST_HELD:
            return False
        if flags & _SYN:
            side.start = start
            connection.opener = connection.other(side) if flags & _ACK else side
        if flags & _SYN_ACK != _SYN:
            connection.is_alone = False
        return True

    def _take_payload(  # noqa: PLR0917 - as `take`
        self, side: _Side, seq: int, payload: bytes, octets: int, now_ns: int, found: list[Packet]
    ) -> bool:
        """Tell whether the connection is still held, or passed over now, with a segment that carries octets."""
        connection = side.connection
        if side.start == _NO_START:
            side.start = seq
        if connection.state == WAITING:
            return self._take_answer(side, seq, payload, now_ns)
        first = connection.speaker or connection.opener
        if first is not None and side is not first:  # the other side speaks first
            return False
        connection.speaker = side
        try:
            is_dull = self._take_hello(side, seq, payload, octets, now_ns)
        except NeedMoreData:
            if len(payload) < octets:
                return False
            if not connection.parts:
                connection.parts = ((0, payload),)
            self._held.note_begun(connection, found)
            return connection.state != HANDED
        if is_dull:
            connection.state = WAITING
            connection.forget_hello()
        elif is_dull is not None:
            self._suspects.note_interest(_sender(side.key))
        return bool(is_dull)

    def _take_hello(self, side: _Side, seq: int, payload: bytes, octets: int, now_ns: int) -> bool | None:
        """Tell whether a hello of which octets came is of no interest; None if they contradict each other.

        Raises:
            NeedMoreData: more of it is to come.
        """
        connection, key = side.connection, side.key
        if connection.has_hello or seq != side.start:  # not all in this segment
            parts = _with_part(connection.parts, (seq - side.start) & _MASK, payload, octets)
            if parts is None:
                return None
            connection.parts = parts
            payload = _gathered(parts)
        connection.has_hello = True
        hello = read_hello(payload)
        if hello is None or self._suspects.is_suspect(key, now_ns):
            return False
        return not self._told.is_told_before(_sender(key), _receiver(key)) and self._names.is_dull_hello(*hello)

    def _take_answer(self, side: _Side, seq: int, payload: bytes, now_ns: int) -> bool:
        """Tell whether a connection with a hello of no interest is held on, or passed over since a ServerHello answers.

        It is not if something else answers, if something stands before the hello, or if an interesting name has led
        here since.
        """
        connection = side.connection
        offset = ((seq - side.start + _HALF) & _MASK) - _HALF
        if side is connection.speaker:
            return offset >= 0
        if offset:
            return True
        if not is_server_hello(payload) or self._suspects.is_suspect(side.key, now_ns):
            return False
        self._pass_over(connection)
        return True

    def _pass_over(self, connection: _Connection) -> None:
        sides = connection.sides
        self._held.pass_over(connection)
        connection.state = OVER
        passed = self.passed
        if len(passed) >= 2 * PASSED:
            for key in first_quarter(passed):
                self._forget_passed(key)
        for side in sides:
            passed[side.key] = side.start

    def _forget_passed(self, key: bytes) -> None:
        self.passed.pop(key, None)
        self.passed.pop(reverse_key(key), None)


def _with_part(parts: _Parts, offset: int, payload: bytes, octets: int) -> _Parts | None:
    """Return the parts of a hello with one more, in order; None if some octets came twice or are missing."""
    end = offset + octets
    if len(parts) == MOST_SEGMENTS or end > HELLO_OCTETS or len(payload) < octets:
        return None
    if any(start < end and offset < start + len(part) for start, part in parts):
        return None
    return tuple(sorted((*parts, (offset, payload))))


def _gathered(parts: _Parts) -> bytes:
    """Return the octets of a hello that are there without a gap."""
    gathered = b""
    for start, part in parts:
        if start != len(gathered):
            break
        gathered += part
    return gathered


def _octets_of_address(key: bytes) -> int:
    return (len(key) - 4) >> 1


def _sender(key: bytes) -> bytes:
    return key[: _octets_of_address(key)]


def _receiver(key: bytes) -> bytes:
    octets = _octets_of_address(key)
    return key[octets : 2 * octets]
