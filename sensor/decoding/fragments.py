"""IP datagrams put together again from their fragments (RFC 791 section 3.2, RFC 8200 section 4.5).

Only the head of a datagram is read, so its first 4096 octets are enough; the kernel filter passes no more than that.
A datagram whose fragments overlap with different octets is dropped whole (RFC 5722): valid senders make none, and
whichever copy we chose, the receiver may choose the other.
"""

from collections import OrderedDict

import msgspec

from sensor.decoding.decode import Fragment
from sensor.errors import MalformedPacket

HEAD_OCTETS = 4096
LIMIT_OCTETS = 8 << 20
_MAX_PIECES = 128
_PIECE_OCTETS = 192  # what a piece takes besides its octets, with its share of the datagram
_TIMEOUT_NS = 30_000_000_000  # Linux's ipfrag_time

FragmentKey = tuple[bytes, bytes, int, int]


class _Datagram(msgspec.Struct):
    started_ns: int
    pieces: dict[int, bytes] = msgspec.field(default_factory=dict)
    octets: int | None = None  # known once the last fragment was seen
    is_finished: bool = False  # handed on or refused: later fragments are ignored

    @property
    def held_octets(self) -> int:
        """Return about how much memory the pieces take."""
        return sum(map(len, self.pieces.values())) + _PIECE_OCTETS * len(self.pieces)


class FragmentTable:
    """The datagrams of which fragments are awaited, at most `limit`, and at most `limit_octets` of them.

    The oldest is dropped and counted in `evicted`. A fragment costs constant time: a datagram has 128 pieces at most.
    """

    def __init__(self, limit: int = 4096, limit_octets: int = LIMIT_OCTETS) -> None:
        self.evicted = 0
        self._limit = limit
        self._limit_octets = limit_octets
        self._held_octets = 0
        self._datagrams: OrderedDict[FragmentKey, _Datagram] = OrderedDict()

    def __len__(self) -> int:
        return len(self._datagrams)

    def add(self, fragment: Fragment) -> tuple[bytes, bool] | None:
        """Return the payload that `fragment` completes and whether it is whole (else its head), or None.

        Raises:
            MalformedPacket: the fragments contradict each other.
        """
        datagram = self._datagram_of(fragment)
        if datagram.is_finished:
            return None
        before = datagram.held_octets
        try:
            payload = _complete(datagram, fragment)
        finally:
            self._held_octets += datagram.held_octets - before
        while self._held_octets > self._limit_octets:
            self._drop_oldest()
        return payload

    def _datagram_of(self, fragment: Fragment) -> _Datagram:
        key = (fragment.src, fragment.dst, fragment.protocol, fragment.identification)
        datagram = self._datagrams.get(key)
        if datagram is not None and abs(fragment.ts_ns - datagram.started_ns) <= _TIMEOUT_NS:
            return datagram
        if datagram is not None:
            self._held_octets -= datagram.held_octets
        datagram = self._datagrams[key] = _Datagram(fragment.ts_ns)
        self._datagrams.move_to_end(key)
        if len(self._datagrams) > self._limit:
            self._drop_oldest()
        return datagram

    def _drop_oldest(self) -> None:
        _, oldest = self._datagrams.popitem(last=False)
        self._held_octets -= oldest.held_octets
        self.evicted += not oldest.is_finished


def _complete(datagram: _Datagram, fragment: Fragment) -> tuple[bytes, bool] | None:
    """Put the fragment in; return the payload that it completes and whether that is whole, or None."""
    try:
        _put(datagram, fragment)
    except MalformedPacket:
        _finish(datagram)
        raise
    payload = _contiguous(datagram.pieces)
    is_whole = len(payload) == datagram.octets
    if not is_whole and len(payload) < HEAD_OCTETS:
        return None
    _finish(datagram)
    return payload, is_whole


def _put(datagram: _Datagram, fragment: Fragment) -> None:
    start, end = fragment.offset, fragment.offset + len(fragment.payload)
    if fragment.is_last:
        if datagram.octets not in (None, end):
            raise MalformedPacket(start, "fragments with two ends")
        datagram.octets = end
    if datagram.octets is not None and end > datagram.octets:
        raise MalformedPacket(start, "a fragment beyond the last")
    if start >= HEAD_OCTETS or datagram.pieces.get(start) == fragment.payload:
        return
    for other, piece in datagram.pieces.items():
        if start < other + len(piece) and other < end:
            raise MalformedPacket(start, "overlapping fragments")
    if len(datagram.pieces) == _MAX_PIECES:
        raise MalformedPacket(start, f"more than {_MAX_PIECES} fragments")
    datagram.pieces[start] = fragment.payload


def _contiguous(pieces: dict[int, bytes]) -> bytes:
    payload = b""
    while (piece := pieces.get(len(payload))) is not None:
        payload += piece
    return payload


def _finish(datagram: _Datagram) -> None:
    datagram.is_finished = True
    datagram.pieces = {}
