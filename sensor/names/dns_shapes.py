"""The shape of the queries that each client sends below each domain: which of them carry data instead of asking.

Per client and domain, within a minute: how many different names, how long, of which types, and how much comes back.
A domain is the last two labels of a name, three where the second to last is short (`co.uk`); what tunnels really share
is found while counting. One query costs O(1): about 3 us where it is counted, 0.2 us where it is an ordinary short one,
which is nearly always (`bench/extract.py`).
"""

import zlib
from collections import OrderedDict
from functools import lru_cache
from typing import Final

from rules.values.value import State
from sensor.extract.dns import DnsMessage
from sensor.extract.dns_tunnel import DATA_TYPES, DNSCAT2_MARK, RARE_TYPES, dnscat2_session, recognise_program

WINDOW_NS: Final = 60_000_000_000
LEAST_NAMES: Final = 20  # different ones, in a window
LEAST_RARE_NAMES: Final = 4
LEAST_SESSION_PACKETS: Final = 4
LEAST_LABEL_OCTETS: Final = 16  # the longest label of a name that carries data
LEAST_MEAN_OCTETS: Final = 40  # of data in a name
MANY_MEAN_OCTETS: Final = 90  # enough whatever the type and the answer
LEAST_ANSWER_OCTETS: Final = 60  # more than the query, in the mean

_ORDINARY_OCTETS: Final = 40
_SHORT_LABEL: Final = 3
_NAME_BITS: Final = 256
_QUERY_OCTETS: Final = 18  # of a query beside its name
_NOT_DELEGATED: Final = frozenset(("arpa", "local", "localhost", "onion", "home", "lan"))


class _Shape(State):
    """What one client asked below one domain since `started_ns`."""

    started_ns: int
    program: str = ""  # the shape that was found, for good
    domain: str = ""  # what all names that carry data end in
    names: int = 0  # one bit for each hash of a name
    queries: int = 0
    data_types: int = 0
    rare_types: int = 0
    octets: int = 0
    answers: int = 0
    answer_octets: int = 0
    session: str = ""
    packet: str = ""
    session_packets: int = 0


class DnsShapes:
    """Shapes by client and domain, at most `limit`; `evicted` counts those dropped within their minute.

    About 0.4 kB each. Below `lookup_services` names are long and ever different without carrying data.
    """

    def __init__(self, limit: int = 8_192) -> None:
        self.evicted = 0
        self.found = 0  # shapes of tunnels
        self.lookup_services: frozenset[str] = frozenset()
        self._domains: OrderedDict[str, None] = OrderedDict()  # that they were found below
        self._limit = limit
        self._shapes: OrderedDict[tuple[bytes, str], _Shape] = OrderedDict()

    def __len__(self) -> int:
        return len(self._shapes)

    def note_query(self, client: bytes, message: DnsMessage, now_ns: int) -> None:
        """Count a query that `client` sent, once for each transaction."""
        qname, qtype = message.qname, message.qtype
        program = recognise_program(qname)
        if not program and len(qname) < _ORDINARY_OCTETS and qtype not in DATA_TYPES:
            return
        domain, data = _split(qname)
        if not data or domain in _NOT_DELEGATED:
            return
        shape = self._get(client, domain, now_ns)
        known = shape.program
        if program and known != program:
            shape.program, shape.domain = program, _domain_of_program(qname)
        elif not known and _carries_data(data, qtype):
            _count(shape, qname, data, qtype)
            shape.program = "" if self._is_lookup_service(domain) else _judge(shape)
        if shape.program != known:
            self._note_found(domain)

    def domains(self) -> list[str]:
        """Return the domains that tunnels were found below."""
        return list(self._domains)

    def is_ordinary(self, qname: str) -> bool:
        """Tell whether a question for an address of `qname` says nothing here by what is known now, whoever asks."""
        if len(qname) >= _ORDINARY_OCTETS or recognise_program(qname):
            return False
        return not self._domains or _split(qname)[0] not in self._domains

    def note_answer(self, client: bytes, message: DnsMessage) -> None:
        """Count how much an answer brings beyond its question."""
        shape = self._shapes.get((client, _split(message.qname)[0])) if self._shapes else None
        if shape is not None:
            shape.answers += 1
            shape.answer_octets += max(0, message.octets - len(message.qname) - _QUERY_OCTETS)

    def find(self, client: bytes, qname: str) -> str:
        """Return `SHAPE:DOMAIN` if `client` was seen to tunnel below a domain that `qname` is in, else nothing."""
        shape = self._shapes.get((client, _split(qname)[0])) if self._shapes else None
        if shape is None or not shape.program:
            return ""
        is_inside = f".{qname}".endswith(f".{shape.domain}") or _is_of_dnscat2(qname)
        return f"{shape.program}:{shape.domain}" if is_inside else ""

    def _is_lookup_service(self, domain: str) -> bool:
        return domain in self.lookup_services or domain.partition(".")[2] in self.lookup_services

    def _note_found(self, domain: str) -> None:
        self.found += 1
        self._domains[domain] = None
        if len(self._domains) > self._limit:
            self._domains.popitem(last=False)

    def _get(self, client: bytes, domain: str, now_ns: int) -> _Shape:
        key = (client, domain)
        shape = self._shapes.get(key)
        if shape is None:
            shape = self._shapes[key] = _Shape(now_ns)
            if len(self._shapes) > self._limit:
                _, dropped = self._shapes.popitem(last=False)
                self.evicted += now_ns - dropped.started_ns <= WINDOW_NS
        elif now_ns - shape.started_ns > WINDOW_NS:
            shape = self._shapes[key] = _Shape(now_ns, shape.program, shape.domain if shape.program else "")
        self._shapes.move_to_end(key)
        return shape


@lru_cache(maxsize=1024)  # asked for with the query and with the answer
def _split(qname: str) -> tuple[str, str]:
    """Return the domain of a name, and what stands before it."""
    if _is_of_dnscat2(qname):
        return "dnscat", qname
    labels = qname.rsplit(".", 3)
    size = 3 if len(labels) > 2 and len(labels[-2]) <= _SHORT_LABEL and len(labels[-1]) == 2 else 2  # noqa: PLR2004
    if labels[-1] in _NOT_DELEGATED:
        size = 1
    domain = ".".join(labels[-size:])
    return domain, qname[: -len(domain) - 1]


def _is_of_dnscat2(qname: str) -> bool:
    return qname.startswith(DNSCAT2_MARK)


def _domain_of_program(qname: str) -> str:
    """Return the domain that a program's own words stand below: behind one label of data and a command."""
    if _is_of_dnscat2(qname):
        return "dnscat"
    rest = qname.partition(".")[2]
    return rest.partition(".")[2] if rest.startswith("=") else rest


def _carries_data(data: str, qtype: int) -> bool:
    """Tell whether the labels below a domain look like data: long, and no name of a service (`_dmarc`, `_tcp`)."""
    if "_" in data:
        return False
    return qtype in RARE_TYPES or max(map(len, data.split("."))) >= LEAST_LABEL_OCTETS


def _count(shape: _Shape, qname: str, data: str, qtype: int) -> None:
    shape.names |= 1 << zlib.crc32(data.encode()) % _NAME_BITS
    shape.queries += 1
    shape.octets += len(data)
    shape.data_types += qtype in DATA_TYPES
    shape.rare_types += qtype in RARE_TYPES
    shape.domain = _common_end(shape.domain, qname) if shape.domain else qname.partition(".")[2]
    _follow_session(shape, data)


def _common_end(one: str, other: str) -> str:
    """Return the labels in which both names end; the first label of `other` is data."""
    labels = other.split(".")[1:]
    while labels and not f".{one}".endswith("." + ".".join(labels)):
        del labels[0]
    return ".".join(labels)


def _follow_session(shape: _Shape, data: str) -> None:
    """Follow a session of dnscat2: the same number of session, ever another number of packet."""
    found = dnscat2_session(data)
    if found is None:
        shape.session_packets = 0
        return
    session, packet = found
    is_next = session == shape.session and packet != shape.packet
    shape.session_packets = shape.session_packets + 1 if is_next else 1
    shape.session, shape.packet = session, packet


def _judge(shape: _Shape) -> str:
    names = shape.names.bit_count()
    if shape.session_packets >= LEAST_SESSION_PACKETS:
        return "dnscat2"
    if names >= LEAST_RARE_NAMES and shape.rare_types >= LEAST_RARE_NAMES:
        return "rare-types"
    if names < LEAST_NAMES or shape.octets < LEAST_MEAN_OCTETS * shape.queries:
        return ""
    is_answered_at_length = shape.answer_octets >= LEAST_ANSWER_OCTETS * max(shape.answers, 1)
    is_of_data_types = 2 * shape.data_types >= shape.queries
    is_bulk = shape.octets >= MANY_MEAN_OCTETS * shape.queries or (is_of_data_types and is_answered_at_length)
    return "bulk" if is_bulk else ""
