"""Bursts of a TCP connection in a pcap file: records that follow one another, found by a regular expression.

A loop of the interpreter takes 0.4 us to step from one record to the next, and does nothing else. The engine of regular
expressions takes 0.1 us for a record, and looks at its headers as well. It cannot read a length, so each length is an
alternative: the most frequent ones, learned from what the file holds. Bulk data and acknowledgements have few.

Most bursts are of triples, two segments and their acknowledgement, since receivers acknowledge every second one (RFC
9293 section 3.8.6.3). They are tried first: where the direction need not be found out, a record takes a tenth less.
"""

import re
import struct
from collections import Counter
from collections.abc import Callable, Iterator

from sensor.capture.offline.pcap import MAX_RECORD_OCTETS, PcapFormat

MOST_RECORDS = 9  # of a burst
MOST_LENGTHS = 16
FIRST_SAMPLE = 3  # windows until lengths are learned: the first ones hold more beginnings than others
SAMPLE_GROWTH = 8  # times as many windows lie before the next sample
MOST_WINDOWS = 4096  # from one sample to the next
WORTH_COMPILING = 0.02  # of the records more; it takes 10 ms

SECOND = 1  # groups: the seconds of all records, and the key of the first in each of its forms (`_FORMS`)
_TRIPLES = 3
# A form's groups: the key, its four parts, and empty ones behind each triple and behind each further record.
_GROUPS_A_FORM = 5 + _TRIPLES + MOST_RECORDS - 1
KEYS = tuple(2 + form * _GROUPS_A_FORM for form in range(3))

_HEADER_OCTETS = 16
_ADDRESSES_OCTETS = 12  # of Ethernet
_TCP = rb"\x06"
_TAG = rb"\x81\x00.."
_TAG_OCTETS = 4
_IPV4 = rb"\x08\x00\x45.{5}+[\x00\x40]\x00." + _TCP + rb".."  # without options, no fragment
_IPV6 = rb"\x86\xdd[\x60-\x6f].{5}+" + _TCP + rb"."
_FORMS = (  # with octets until the addresses, and of one
    (_IPV4, 14, 4),
    (_IPV6, 10, 16),
    (_TAG + _IPV4, _TAG_OCTETS + 14, 4),
)
_TO_FLAGS = rb".{9}+"
_TO_FLAGS_OCTETS = 10  # and flags
_FLAGS = b"[" + b"".join(b"\\x%02x" % flags for flags in range(256) if not flags & 0x07) + b"]"  # no FIN, SYN, RST

Match = Callable[[bytearray, int, int], re.Match[bytes] | None]


class Bursts:
    """Finds what follows one another within a second, of plain segments (`PlainHeads`) without SYN, FIN or RST.

    `match(window, at, end)` finds the burst that begins at `at`, None where there is none of known lengths; by the
    match's `lastindex`, `records` says how many records it has and `keys` which group is the key of the first. `match`
    changes when lengths are learned.
    """

    def __init__(self, file_format: PcapFormat) -> None:
        self.match: Match = _find_nothing
        self.records = [0] * (2 + len(KEYS) * _GROUPS_A_FORM)
        self.keys = [group - (group - KEYS[0]) % _GROUPS_A_FORM for group in range(len(self.records))]
        for key in KEYS:
            self.records[key] = 1
            self.records[key + 5 : key + _GROUPS_A_FORM] = [*range(3, 3 * _TRIPLES + 1, 3), *range(2, 1 + MOST_RECORDS)]
        self._format = file_format
        self._lengths: list[int] = []
        self._windows = 0
        self._next_sample = FIRST_SAMPLE

    def learn(self, window: bytearray, at: int, end: int) -> None:
        """Learn the frequent lengths from the records in a window of the file, every now and then."""
        self._windows += 1
        if self._windows < self._next_sample:
            return
        self._next_sample = min(SAMPLE_GROWTH * self._windows, self._windows + MOST_WINDOWS)
        sample = Counter(_lengths_in(self._format, window, at, end))
        lengths = [length for length, _ in sample.most_common(MOST_LENGTHS) if length <= MAX_RECORD_OCTETS]
        gain = sum(sample[length] for length in lengths) - sum(sample[length] for length in self._lengths)
        if gain > sample.total() * WORTH_COMPILING:
            self._lengths = lengths
            self.match = re.compile(_pattern(self._format, lengths), re.DOTALL).match


def _lengths_in(file_format: PcapFormat, window: bytearray, at: int, end: int) -> Iterator[int]:
    read_length = struct.Struct(f"{file_format.byte_order}8xI").unpack_from
    while at + file_format.record_header_octets <= end:
        (length,) = read_length(window, at)
        yield length
        at += file_format.record_header_octets + length


def _find_nothing(_window: bytearray, _at: int, _end: int) -> None:
    return None


def _pattern(file_format: PcapFormat, lengths: list[int]) -> bytes:
    forms = (_form(file_format, lengths, form, key) for form, key in zip(_FORMS, KEYS, strict=True))
    return b"(....)(?:" + b"|".join(forms) + b")"


def _form(file_format: PcapFormat, lengths: list[int], form: tuple[bytes, int, int], key: int) -> bytes:
    """Return a pattern of a burst of frames of one form, behind the seconds of the first."""
    head, head_octets, address_octets = form
    seconds, forth, src, dst, src_port, dst_port = (b"\\%d" % group for group in (SECOND, *range(key, key + 5)))
    back = dst + src + dst_port + src_port
    least = _ADDRESSES_OCTETS + head_octets + 2 * address_octets + 4 + _TO_FLAGS_OCTETS
    ends = _ends(file_format, [octets for octets in lengths if octets >= least])
    to_head = b"(?=.{%d}+" % (file_format.record_header_octets - 4 + _ADDRESSES_OCTETS) + head
    behind_key = _TO_FLAGS + _FLAGS + b")...." + ends
    forward, backward, either = (
        seconds + to_head + direction + behind_key for direction in (forth, back, b"(?:" + forth + b"|" + back + b")")
    )
    triples = forward + backward + b"()" + _up_to(_TRIPLES - 1, forward + forward + backward)
    parts = b"((.{%d}+)(.{%d}+)(..)(..))" % (address_octets, address_octets)
    return to_head + parts + behind_key + b"(?:" + triples + b"|" + _up_to(MOST_RECORDS - 1, either) + b")"


def _up_to(times: int, pattern: bytes) -> bytes:
    """Return what matches `pattern` as often as it can, with an empty group behind each."""
    nested = b""
    for _ in range(times):
        nested = b"(?:" + pattern + b"()" + nested + b"|)"
    return nested


def _ends(file_format: PcapFormat, lengths: list[int]) -> bytes:
    """Return a pattern of what follows the time of a record of one of these lengths."""
    between = 4 + file_format.record_header_octets - _HEADER_OCTETS  # length on the wire, link
    captured = [struct.pack(f"{file_format.byte_order}I", octets) for octets in lengths]
    ends = (
        b"".join(b"\\x%02x" % octet for octet in field) + b".{%d}+" % (between + octets)
        for field, octets in zip(captured, lengths, strict=True)
    )
    return b"(?:" + (b"|".join(ends) or b"(?!)") + b")"
