"""The head of one direction of a TCP connection, put in order (RFC 9293 section 3.4).

Where segments overlap, the octets that came first win; a later copy that differs is counted as a conflict. Offsets are
relative to the head's start, so sequence numbers may wrap around.
"""

from collections.abc import Sequence
from typing import Final

HEAD_OCTETS: Final = 4096
MAX_WAITING: Final = 8

_SEQUENCE_SPACE: Final = 1 << 32
_HALF_SPACE: Final = 1 << 31

_Pieces = Sequence[tuple[int, bytes]]


def sequence_distance(start: int, seq: int) -> int:
    """Return how far `seq` lies after `start`, negative before it, modulo 2**32."""
    return (seq - start + _HALF_SPACE) % _SEQUENCE_SPACE - _HALF_SPACE


class StreamHead:
    """At most `HEAD_OCTETS` octets in order, and what waits for a gap before it to fill.

    Before `start_at` told where the stream begins (a capture begun in its middle, or a SYN yet to come), the first
    segment is the provisional start, and one up to `HEAD_OCTETS` before it still goes in front.
    """

    __slots__ = ("_is_start_known", "_ordered", "_start", "_waiting", "conflicts", "evicted")

    def __init__(self) -> None:
        self.conflicts = 0
        self.evicted = 0
        self._start: int | None = None
        self._is_start_known = False
        self._ordered = b""
        self._waiting: _Pieces = ()  # disjoint, by offset, each beyond the ordered octets

    def __len__(self) -> int:
        return len(self._ordered)

    @property
    def is_start_known(self) -> bool:
        """Tell whether nothing can come in front any more."""
        return self._is_start_known

    @property
    def isn(self) -> int | None:
        """Return the initial sequence number that the start implies, None before the first octet."""
        return None if self._start is None else (self._start - 1) % _SEQUENCE_SPACE

    @property
    def head(self) -> bytes:
        """Return the octets in order from the start."""
        return self._ordered

    @property
    def held_octets(self) -> int:
        """Return how many octets are stored, those waiting included."""
        return len(self._ordered) + sum(len(octets) for _, octets in self._waiting)

    @property
    def is_full(self) -> bool:
        """Tell whether nothing more will be taken."""
        return len(self._ordered) == HEAD_OCTETS

    def is_start(self, seq: int) -> bool:
        """Tell whether a stream that begins at `seq` is this one: the same start, or one that could be in front."""
        if self._start is None or seq == self._start:
            return True
        return not self._is_start_known and 0 <= sequence_distance(seq, self._start) <= HEAD_OCTETS

    def start_at(self, seq: int) -> None:
        """Fix the stream's first sequence number; octets taken from before it go."""
        if self._is_start_known:
            return
        if self._start is not None:
            self._move_start(seq)
        self._start = seq
        self._is_start_known = True

    def add(self, seq: int, payload: bytes) -> bool:
        """Return whether the octets in order grew or changed."""
        if self._start is None:
            self._start = seq
        if not self._waiting and sequence_distance(self._start, seq) == len(self._ordered):  # in order: nearly always
            grown = payload[: HEAD_OCTETS - len(self._ordered)]
            self._ordered += grown
            return bool(grown)
        before = len(self._ordered), self._start
        offset = sequence_distance(self._start, seq)
        if offset < 0 and not self._is_start_known and not self.is_full and offset >= -HEAD_OCTETS:
            self._move_start(seq)
            offset = 0
        if offset < 0:
            offset, payload = 0, payload[-offset:]
        if payload and offset < HEAD_OCTETS:
            self._insert(offset, payload[: HEAD_OCTETS - offset])
            self._drain()
        return (len(self._ordered), self._start) != before

    def forget(self, octets: int) -> None:
        """Let the first `octets` in order go, so that as many more are taken; the stream now begins behind them."""
        self._start = ((self._start or 0) + octets) % _SEQUENCE_SPACE
        self._is_start_known = True
        self._ordered = self._ordered[octets:]
        self._waiting = [(offset - octets, piece) for offset, piece in self._waiting]

    def _move_start(self, seq: int) -> None:
        shift = sequence_distance(seq, self._start or 0)
        held = [(0, self._ordered), *self._waiting] if self._ordered else self._waiting
        self._start = seq
        self._ordered = b""
        moved = [(offset + shift, octets) for offset, octets in held]
        cut = [(max(0, at), octets[max(0, -at) : max(0, HEAD_OCTETS - at)]) for at, octets in moved]
        self._waiting = [(offset, octets) for offset, octets in cut if octets]
        self._drain()

    def _insert(self, offset: int, payload: bytes) -> None:
        """Put what no earlier segment covered among the waiting ones."""
        ordered = len(self._ordered)
        if offset == ordered and not self._waiting:  # nearly always
            self._ordered += payload
            return
        if offset < ordered:
            self._compare(payload, self._ordered[offset : offset + len(payload)])
            payload = payload[ordered - offset :]
            offset = ordered
        free: list[tuple[int, bytes]] = []
        for start, octets in self._waiting:
            if start >= offset + len(payload):
                break
            if start + len(octets) <= offset:
                continue
            if start > offset:
                free.append((offset, payload[: start - offset]))
            self._compare(payload[max(0, start - offset) :], octets[max(0, offset - start) :])
            payload = payload[max(0, start + len(octets) - offset) :]
            offset = max(offset, start + len(octets))
        if payload:
            free.append((offset, payload))
        self._wait(free)

    def _wait(self, pieces: list[tuple[int, bytes]]) -> None:
        waiting = list(self._waiting)
        for piece in pieces:
            if piece[0] > len(self._ordered) and len(waiting) >= MAX_WAITING:
                self.evicted += 1
                continue
            waiting.append(piece)
        waiting.sort()
        self._waiting = waiting

    def _compare(self, copy: bytes, first: bytes) -> None:
        common = min(len(copy), len(first))
        self.conflicts += copy[:common] != first[:common]

    def _drain(self) -> None:
        taken = 0
        for offset, octets in self._waiting:
            if offset != len(self._ordered):
                break
            self._ordered += octets
            taken += 1
        self._waiting = self._waiting[taken:] or ()
