"""Plain DNS messages, as nearly all are, and no others: as `screen_dns.h`. RFC 1035, RFC 9460.

One question of class IN for an address, a name or a service binding, and an answer whose records are whole and say
nothing but names and addresses. Whatever is else is left to `sensor.extract.dns`.
"""

import re
import struct
from typing import Final, NamedTuple

HEADER_OCTETS: Final = 12
DNS_SHORTEST: Final = 17

_ORDINARY_OCTETS: Final = 40
_NAME_OCTETS: Final = 256
_MOST_LABEL: Final = 63
_MOST_TEXT: Final = 253
_POINTER: Final = 0xC0
_MOST_ALIASES: Final = 8
_MOST_ADDRESSES: Final = 32
_MOST_RECORDS: Final = 64
_MOST_STEPS: Final = 256
_A, _CNAME, _AAAA, _OPT, _HTTPS = 1, 5, 28, 41, 65
_SKIPPED: Final = frozenset((6, 12, 41, 46, 47, 50))  # SOA, PTR, OPT, RRSIG, NSEC, NSEC3
_ASKED_FOR: Final = frozenset((_A, 12, _AAAA, _HTTPS))
_IN: Final = 1
_NOT_PLAIN: Final = 0x7A00  # another operation, or cut off
_HINTS: Final = {4: 4, 6: 16}  # keys of service bindings: octets of an address

_read_header: Final = struct.Struct(">2xHHHHH").unpack_from
_read_record: Final = struct.Struct(">HH4xH").unpack_from
_read_pair: Final = struct.Struct(">HH").unpack_from
_is_text: Final = re.compile(rb"[a-z0-9_.-]+").fullmatch
_is_label: Final = re.compile(rb"[A-Za-z0-9_-]+").fullmatch
_MAPPED: Final = bytes(10) + b"\xff\xff"

# The header tests of sensor.extract.dns.is_likely_dns, on a message, on one behind its length (RFC 7766 section 8).
_FLAGS: Final = rb"(?:[\0\x01][\0\x10\x20\x30]|[\x80-\x87][\0-\x3f\x80-\xbf])"
_LIKE: Final = _FLAGS + rb"\0\x01(?:[\0-\x03].){3}"
is_like_dns: Final = re.compile(rb"(?s)..%b" % _LIKE).match
is_like_answer: Final = re.compile(rb"(?s)..(?:%b|..%b)" % (_LIKE, _LIKE)).match

# What nearly all queries are, but for the name, and what nearly all answers begin with.
match_query: Final = re.compile(
    rb"(?s)..[\0\x01\x04\x05][\0\x10\x20\x30\x40\x50\x60\x70\x80\x90\xa0\xb0\xc0\xd0\xe0\xf0]\0\x01\0\0\0\0\0"
    rb"(?:\0([^\0]+\0)\0[\x01\x0c\x1c\x41]\0\x01|\x01([^\0]+\0)\0[\x01\x0c\x1c\x41]\0\x01\0\0\x29.{6}\0\0)"
).fullmatch
match_answer: Final = re.compile(
    rb"(?s)..[\x80\x81\x84\x85].\0\x01\0([\x01-\x10])\0\0\0\0([^\0]+\0)\0[\x01\x0c\x1c\x41]\0\x01"
).match
_ARE_IPV4: Final = re.compile(rb"(?s)(?:\xc0\x0c\0\x01\0\x01.{4}\0\x04.{4})+").fullmatch
_ARE_IPV6: Final = re.compile(rb"(?s)(?:\xc0\x0c\0\x1c\0\x01.{4}\0\x10.{16})+").fullmatch
_IPV4_RECORD: Final = 16
_IPV4_START: Final = b"\xc0\x0c\0\x01\0\x01"  # the name asked for, A, IN
_IPV4_LENGTH: Final = b"\0\x04"
_IPV6_RECORD: Final = 28


class _NotPlainError(Exception):
    """What says that a message is left to others."""


class Message(NamedTuple):
    """A plain message; names in lower case, addresses packed."""

    question: str
    has_upper: bool
    aliases: list[str]
    addresses: list[bytes]


def may_carry_data(name: str) -> bool:
    """Tell whether a question for an address may carry data of a DNS tunnel (sensor.names.dns_shapes).

    It is long, or begins as those that iodine and dnscat2 ask; dns2tcp's are not plain.
    """
    return len(name) >= _ORDINARY_OCTETS or name[0] in "vz" or name.startswith("dnscat.")


def short_address(address: bytes) -> bytes:
    """Return a packed address, that of an IPv4-mapped one (RFC 4291 section 2.5.5.2) as IPv4 has it."""
    return address[12:] if address.startswith(_MAPPED) else address


def read_addresses(records: bytes, count: int) -> list[bytes] | None:
    """Return the addresses where `records` are as many of the name asked for and nothing else; None if not."""
    if count == 1 and len(records) == _IPV4_RECORD and records[:6] == _IPV4_START and records[10:12] == _IPV4_LENGTH:
        return [records[12:]]
    if len(records) == count * _IPV4_RECORD and _ARE_IPV4(records):
        return [records[at : at + 4] for at in range(12, len(records), _IPV4_RECORD)]
    if len(records) == count * _IPV6_RECORD and _ARE_IPV6(records):
        return [short_address(records[at : at + 16]) for at in range(12, len(records), _IPV6_RECORD)]
    return None


def read_question(wire: bytes) -> str | None:
    """Return a name that stands in a message as `wire`; None if it has pointers, upper case, or is not plain."""
    labels: list[bytes] = []
    at = 0
    while at < len(wire) and (length := wire[at]):
        labels.append(wire[at + 1 : at + 1 + length])
        at += 1 + length
    text = b".".join(labels)
    is_whole = at == len(wire) - 1 and len(text) <= _MOST_TEXT and max(map(len, labels), default=64) <= _MOST_LABEL
    return text.decode("ascii") if is_whole and _is_text(text) and text.count(b".") == len(labels) - 1 else None


def read_message(message: bytes) -> Message | None:
    """Return what a plain message says; None if it is not plain."""
    try:
        return _read_message(message)
    except (_NotPlainError, IndexError, struct.error):  # the latter: cut off
        return None


def _read_message(message: bytes) -> Message:
    flags, questions, answers, authorities, others = _read_header(message)
    records, is_response = answers + authorities + others, flags >> 15
    if questions != 1 or flags & _NOT_PLAIN or records > (_MOST_RECORDS if is_response else 1):
        raise _NotPlainError
    if not is_response and (flags & 0x000F or others != records):
        raise _NotPlainError
    names = _Names(message)
    labels, at = names.read(HEADER_OCTETS)
    kind, record_class = _read_pair(message, at)
    if not labels or kind not in _ASKED_FOR or record_class != _IN:
        raise _NotPlainError
    found = Message(labels.lower(), labels != labels.lower(), [], [])
    at += 4
    for _ in range(records):
        at = _read_next(found, names, at)
    if at != len(message):
        raise _NotPlainError
    return found


class _Names:
    """The names in a message; in all of them together at most 256 labels and pointers are read."""

    def __init__(self, message: bytes) -> None:
        self.message = message
        self._steps = 0

    def read(self, at: int) -> tuple[str, int]:
        """Return the name at `at` and where it ends. Pointers lead backwards, so there is no loop."""
        message, labels = self.message, list[bytes]()
        behind, lowest, octets = 0, at, 0
        while length := message[at]:
            self._steps += 1
            if self._steps > _MOST_STEPS:
                raise _NotPlainError
            if length >= _POINTER:
                target = (length << 8 | message[at + 1]) & 0x3FFF
                if not HEADER_OCTETS <= target < lowest:
                    raise _NotPlainError
                behind = behind or at + 2
                at = lowest = target
                continue
            label = message[at + 1 : at + 1 + length]
            if length > _MOST_LABEL or len(label) < length or not _is_label(label):
                raise _NotPlainError
            octets += length + bool(labels)
            if octets + 2 > _NAME_OCTETS:
                raise _NotPlainError
            labels.append(label)
            at += 1 + length
        return b".".join(labels).decode("ascii"), behind or at + 1


def _read_next(found: Message, names: _Names, at: int) -> int:
    """Read the record at `at` and return where it ends."""
    message = names.message
    _, at = names.read(at)
    kind, record_class, octets = _read_record(message, at)
    at += 10
    end: int = at + octets
    if end > len(message) or (record_class != _IN and kind != _OPT):
        raise _NotPlainError
    if kind in {_A, _AAAA}:
        _add_addresses(found, message[at:end], 4 if kind == _A else 16, most=1)
    elif kind == _CNAME:
        name, behind = names.read(at)
        if behind != end or len(found.aliases) == _MOST_ALIASES:
            raise _NotPlainError
        found.aliases.append(name.lower())
    elif kind == _HTTPS:
        _read_binding(found, message[at:end])
    elif kind not in _SKIPPED:
        raise _NotPlainError
    return end


def _read_binding(found: Message, data: bytes) -> None:
    """Read a service binding in its own name: the addresses that its parameters hint at (RFC 9460 section 7.3)."""
    if data[2]:  # a target of another name
        raise _NotPlainError
    at = 3
    while at < len(data):
        key, length = _read_pair(data, at)
        at += 4
        if at + length > len(data):
            raise _NotPlainError
        if key in _HINTS:
            _add_addresses(found, data[at : at + length], _HINTS[key], most=_MOST_ADDRESSES)
        at += length


def _add_addresses(found: Message, packed: bytes, octets: int, *, most: int) -> None:
    count, rest = divmod(len(packed), octets)
    if rest or not 0 < count <= most or len(found.addresses) + count > _MOST_ADDRESSES:
        raise _NotPlainError
    found.addresses.extend(short_address(packed[at : at + octets]) for at in range(0, len(packed), octets))
