"""DNS messages (RFC 1035, RFC 3596, RFC 6891, RFC 9460): what was asked, and what answers it.

`parse_message` allocates the message, its name and, for an answer, two small dictionaries. A plain query costs about
1.4 us (`bench/extract.py`).
"""

import struct
from enum import IntEnum
from functools import lru_cache
from typing import Final

from rules.values.value import State, Value
from sensor.errors import MalformedDns, NeedMoreData

MAX_RECORDS: Final = 256
MAX_DELEGATIONS: Final = 16
MAX_NAME_OCTETS: Final = 255
MAX_POINTERS: Final = 32

_Header = tuple[int, int, int, int, int, int]  # said of what is read, so that compiled code computes with integers
_read_header: Final = struct.Struct(">6H").unpack_from
_read_question_tail: Final = struct.Struct(">HH").unpack_from
_PARAMETER_HEAD: Final = struct.Struct(">HH")
_RECORD_HEAD_OCTETS: Final = 10
_read_record_head: Final = struct.Struct(">HHIH").unpack_from
_HEADER_OCTETS: Final = 12
_SHORTEST_MESSAGE: Final = 17
_ONE_QUESTION: Final = b"\0\1"

_IS_RESPONSE: Final = 0x8000
_OPCODE: Final = 0x7800
_IS_TRUNCATED: Final = 0x0200
_RCODE: Final = 0x000F

_POINTER: Final = 0xC0
_LABEL_LIMIT: Final = 64
_POINTER_TO_QNAME: Final = b"\xc0\x0c"
_CACHE_FLUSH: Final = 0x8000  # RFC 6762 section 10.2
_LONGEST_TTL: Final = 0x7FFFFFFF
_HIGHEST_RCODE: Final = 11
_MOST_QUERY_ADDITIONALS: Final = 3
_MOST_RECORDS_PLAUSIBLE: Final = 512

# What needs no escape inside a label: printable ASCII without the dot and the backslash.
_PLAIN: Final = bytes(octet for octet in range(0x21, 0x7F) if octet not in b".\\")


class RecordType(IntEnum):
    """Resource record types read here (IANA registry "DNS Parameters")."""

    A = 1
    NS = 2
    CNAME = 5
    AAAA = 28
    SVCB = 64
    HTTPS = 65


class RecordClass(IntEnum):
    """Classes a question may have (IANA registry "DNS Parameters")."""

    IN = 1
    CH = 3
    HS = 4
    NONE = 254
    ANY = 255


class SvcParam(IntEnum):
    """Service parameters that carry addresses (RFC 9460 section 14.3.2)."""

    IPV4HINT = 4
    IPV6HINT = 6


_CLASSES: Final = frozenset(map(int, RecordClass))
_IN: Final = int(RecordClass.IN)
_CNAME: Final = int(RecordType.CNAME)
_NAMES: Final = frozenset({int(RecordType.NS), _CNAME})
_SERVICE_BINDINGS: Final = frozenset({int(RecordType.SVCB), int(RecordType.HTTPS)})
_ADDRESS_OCTETS: Final[dict[int, int]] = {int(RecordType.A): 4, int(RecordType.AAAA): 16}
_HINT_OCTETS: Final[dict[int, int]] = {SvcParam.IPV4HINT: 4, SvcParam.IPV6HINT: 16}


class DnsMessage(Value, frozen=True):
    """A query or a response with one question.

    `qname` is lower-case without the trailing dot (the root is empty). `cnames` are the alias targets in chain order,
    the qname not among them. `addresses` are packed addresses that answer the qname through that chain, each with its
    time to live in seconds; `min_ttl` is the shortest time to live on the way, 0 without records. `delegations` are
    zones with one of their name servers each, from answer and authority section. `is_truncated`:
    records are missing (the TC flag, a snap length, or more than `MAX_RECORDS`). `octets`: the length of a response.
    """

    id: int
    is_response: bool
    opcode: int
    rcode: int
    qname: str
    qtype: int
    cnames: tuple[str, ...] = ()
    addresses: tuple[tuple[bytes, int], ...] = ()
    min_ttl: int = 0
    is_truncated: bool = False
    octets: int = 0
    delegations: tuple[tuple[str, str], ...] = ()


class _Answers(State):
    """Records by owner name; name servers with the zone that they serve."""

    targets: dict[str, list[tuple[str, int]]]
    addresses: dict[str, list[tuple[bytes, int]]]
    servers: list[tuple[str, str]]
    end: int = 0  # of the section


def is_likely_dns(data: bytes) -> bool:
    """Tell whether `data` is plausibly a standard query or its response: header, counts, one sane question.

    A cheap test of content for any port; random payload passes with a probability below 2**-40.
    """
    if len(data) < _SHORTEST_MESSAGE:
        return False
    header: _Header = _read_header(data)
    _, flags, questions, answers, authorities, additionals = header
    if questions != 1 or not _has_plausible_counts(flags, answers, authorities, additionals):
        return False
    at = _plain_end(data, _HEADER_OCTETS)
    if at < 0 or at + 5 > len(data):
        return False
    return (data[at + 3] << 8 | data[at + 4]) in _CLASSES


def may_become_dns(beginning: bytes) -> bool:
    """Tell whether a message that starts with `beginning` can still pass `is_likely_dns`."""
    if len(beginning) >= _HEADER_OCTETS:
        _, flags, questions, answers, authorities, additionals = _read_header(beginning)
        return questions == 1 and _has_plausible_counts(flags, answers, authorities, additionals)
    flags = int.from_bytes(beginning[2:4].ljust(2, b"\0"), "big")
    return _has_plausible_counts(flags, 0, 0, 0) and _ONE_QUESTION.startswith(beginning[4:6])


def parse_message(data: bytes) -> DnsMessage:
    """Return the message; of a response that is cut off, its question and its complete records.

    Raises:
        MalformedDns: not a message with one complete question, or a record that cannot be.
    """
    if len(data) < _SHORTEST_MESSAGE:
        raise MalformedDns(len(data), "shorter than a header and a question")
    header: _Header = _read_header(data)
    ident, flags, questions, count, authorities, _ = header
    if questions != 1:
        raise MalformedDns(2, "not exactly one question")
    try:
        qname, at = _read_name(data, _HEADER_OCTETS)
        qtype, qclass = _read_question_tail(data, at)
    except (NeedMoreData, struct.error):
        raise MalformedDns(len(data), "the question is cut off") from None
    if qclass not in _CLASSES:
        raise MalformedDns(at + 2, f"class {qclass}")
    opcode = (flags & _OPCODE) >> 11
    if not flags & _IS_RESPONSE or opcode:
        return DnsMessage(ident, bool(flags & _IS_RESPONSE), opcode, flags & _RCODE, qname, qtype)
    found, is_cut = _read_answers(data, at + 4, count, qname)
    cnames, addresses, min_ttl = _follow(found, qname)
    if authorities and not is_cut:
        _read_authorities(data, authorities, qname, found)
    is_truncated = is_cut or bool(flags & _IS_TRUNCATED)
    rcode, servers = flags & _RCODE, tuple(found.servers[:MAX_DELEGATIONS])
    return DnsMessage(ident, True, 0, rcode, qname, qtype, cnames, addresses, min_ttl, is_truncated, len(data), servers)


def _has_plausible_counts(flags: int, answers: int, authorities: int, additionals: int) -> bool:
    """Tell whether it may be a standard query or its response; resolvers take no notice of a query's other flags."""
    if flags & _IS_RESPONSE:
        is_standard = not flags & _OPCODE and flags & _RCODE <= _HIGHEST_RCODE
        return is_standard and answers + authorities + additionals <= _MOST_RECORDS_PLAUSIBLE
    return not (flags & _OPCODE or answers or authorities or additionals > _MOST_QUERY_ADDITIONALS)


def _plain_end(data: bytes, start: int) -> int:
    """Return where the root label of a name that is written out stands, -1 if there is no such name at `start`."""
    at, end = start, len(data)
    while at < end and 0 < data[at] < _LABEL_LIMIT:
        at += data[at] + 1
    return at if at < end and not data[at] and at - start < MAX_NAME_OCTETS else -1


def _read_name(data: bytes, start: int) -> tuple[str, int]:
    """Return the name at `start`, lower-case, and the offset behind it (RFC 1035 section 4.1.4).

    A pointer must lead below everything read so far of this name, so that a loop cannot be written down.

    Raises:
        NeedMoreData: `data` ends inside the name.
        MalformedDns: a pointer forward or into the header, an unknown label type, or more than 255 octets.
    """
    end = _plain_end(data, start)
    if end >= 0:  # nearly always
        return _plain_name(data[start:end]), end + 1
    labels: list[bytes] = []
    at = lowest = start
    octets, pointers, behind = 1, 0, 0
    try:
        while length := data[at]:
            if length < _LABEL_LIMIT:
                octets += length + 1
                at += length + 1
                labels.append(data[at - length : at])
                continue
            target = (length & 0x3F) << 8 | data[at + 1]
            pointers += 1
            if length < _POINTER or not _HEADER_OCTETS <= target < lowest or pointers > MAX_POINTERS:
                raise MalformedDns(at, "a label type or pointer that cannot be")
            behind = behind or at + 2
            at = lowest = target
    except IndexError:
        raise NeedMoreData from None
    if octets > MAX_NAME_OCTETS:
        raise MalformedDns(start, f"a name of {octets} octets")
    return _join(labels), behind or at + 1


@lru_cache(maxsize=4096)  # of a query, its answer, and the next client's
def _plain_name(wire: bytes) -> str:
    """Return a name that is written out, without the root label."""
    labels: list[bytes] = []
    at = 0
    while at < len(wire):
        start, at = at + 1, at + 1 + wire[at]
        labels.append(wire[start:at])
    return _join(labels)


def _join(labels: list[bytes]) -> str:
    name = b".".join(labels).lower()
    if len(name.translate(None, _PLAIN)) >= max(len(labels), 1):
        return ".".join(_escape_label(label) for label in labels).lower()
    return name.decode("ascii")


def _escape_label(label: bytes) -> str:
    r"""Return the label with `\DDD` for the dot, the backslash and octets that do not print (RFC 1035 section 5.1).

    A dot in a label must not look like one between labels, which `\.` would do to whoever splits at dots.
    """
    return "".join(chr(octet) if octet in _PLAIN else f"\\{octet:03d}" for octet in label)


def _read_answers(data: bytes, at: int, count: int, qname: str) -> tuple[_Answers, bool]:
    """Return the records of the answer section and whether some are missing."""
    found = _Answers({}, {}, [])
    for _ in range(min(count, MAX_RECORDS)):
        try:
            at = _read_record(data, at, qname, found)
        except NeedMoreData:
            return found, True
    found.end = at
    return found, count > MAX_RECORDS


def _read_authorities(data: bytes, count: int, qname: str, found: _Answers) -> None:
    """Add the name servers that the authority section names; whatever else stands there, or is wrong, says nothing."""
    aside = _Answers({}, {}, found.servers)
    at = found.end
    try:
        for _ in range(min(count, MAX_RECORDS)):
            at = _read_record(data, at, qname, aside)
    except (NeedMoreData, MalformedDns):
        return


def _read_record(data: bytes, at: int, qname: str, found: _Answers) -> int:
    """Return the offset behind the record at `at`, having noted what it says in `found`."""
    if data[at : at + 2] == _POINTER_TO_QNAME:
        owner, at = qname, at + 2
    else:
        owner, at = _read_name(data, at)
    start = at + _RECORD_HEAD_OCTETS
    if start > len(data):
        raise NeedMoreData
    head: tuple[int, int, int, int] = _read_record_head(data, at)
    kind, record_class, ttl, length = head
    end = start + length
    if end > len(data):
        raise NeedMoreData
    ttl = ttl if ttl <= _LONGEST_TTL else 0  # RFC 2181 section 8
    if record_class & ~_CACHE_FLUSH != _IN:
        return end
    if kind in _ADDRESS_OCTETS:
        _note_addresses(found, owner, ttl, data[start:end], _ADDRESS_OCTETS[kind])
    elif kind in _NAMES:
        _note_name(found, owner, kind, _read_name_within(data, start, end)[0], ttl)
    elif kind in _SERVICE_BINDINGS:
        target, hints = _read_service_binding(data, start, end)
        if target:
            found.targets.setdefault(owner, []).append((target, ttl))
        for packed, size in hints:
            _note_addresses(found, target or owner, ttl, packed, size)
    return end


def _note_name(found: _Answers, owner: str, kind: int, name: str, ttl: int) -> None:
    if kind == _CNAME:
        found.targets.setdefault(owner, []).append((name, ttl))
    else:
        found.servers.append((owner, name))


def _note_addresses(found: _Answers, owner: str, ttl: int, packed: bytes, size: int) -> None:
    if not packed or len(packed) % size:
        raise MalformedDns(0, f"{len(packed)} octets where addresses of {size} belong")
    addresses = found.addresses.setdefault(owner, [])
    addresses += [(packed[at : at + size], ttl) for at in range(0, len(packed), size)]


def _read_name_within(data: bytes, start: int, end: int) -> tuple[str, int]:
    try:
        name, behind = _read_name(data, start)
    except NeedMoreData:
        raise MalformedDns(start, "a name runs out of its record") from None
    if behind > end:
        raise MalformedDns(start, "a name runs out of its record")
    return name, behind


def _read_service_binding(data: bytes, start: int, end: int) -> tuple[str, list[tuple[bytes, int]]]:
    """Return the target of an SVCB or HTTPS record (RFC 9460 section 2.2) and its hints: packed addresses, their size.

    An empty target is the owner itself.
    """
    priority = int.from_bytes(data[start : start + 2], "big")
    target, at = _read_name_within(data, start + 2, end)
    hints = []
    while priority and at < end:
        body = at + _PARAMETER_HEAD.size
        if body > end:
            raise MalformedDns(at, "a service parameter runs out of its record")
        key, length = _PARAMETER_HEAD.unpack_from(data, at)
        at = body + length
        if at > end:
            raise MalformedDns(body, "a service parameter runs out of its record")
        if key in _HINT_OCTETS:
            hints.append((data[body:at], _HINT_OCTETS[key]))
    return target, hints


def _follow(found: _Answers, qname: str) -> tuple[tuple[str, ...], tuple[tuple[bytes, int], ...], int]:
    """Return alias targets, addresses and the shortest time to live, from `qname` on; records may have any order."""
    if not found.targets:  # nearly always
        answers = found.addresses.get(qname, ())
        return (), tuple(answers), min([ttl for _, ttl in answers], default=0)
    chain = [qname]
    seen = {qname}
    addresses: list[tuple[bytes, int]] = []
    ttls: list[int] = []
    for name in chain:
        addresses += found.addresses.get(name, ())
        for target, ttl in found.targets.get(name, ()):
            ttls.append(ttl)
            if target not in seen:
                seen.add(target)
                chain.append(target)
    ttls.extend(ttl for _, ttl in addresses)
    return tuple(chain[1:]), tuple(addresses), min(ttls, default=0)
