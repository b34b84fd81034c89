"""Records of a policy zone in wire format, packed for messages of a transfer.

The records are all alike and may be millions, for which `dns.renderer` takes too long: they are written here. dnspython
writes everything else, and reads all of it in the tests.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from struct import pack as pack_struct

import dns.rdata
import dns.rdataclass
import dns.rdatatype

from api.feeds.rpz import PRIMARY, TTL_S, Action, soa_text, zone_records
from rules.lists.blocklist import NameList

MESSAGE_OCTETS = 16_384  # of records in a message; RFC 1035 section 4.2.2 allows 65,535 in all
ORIGIN = b"\xc0\x0c"  # a pointer to the question, which is the zone's name (RFC 1035 section 4.1.4)


@dataclass(frozen=True, slots=True)
class Records:
    """The records of one message."""

    count: int
    octets: bytes


def soa(serial: int) -> bytes:
    """Return the zone's SOA record."""
    return _at_origin(dns.rdatatype.SOA, soa_text(serial))


def name_servers() -> bytes:
    """Return the zone's NS record."""
    return _at_origin(dns.rdatatype.NS, PRIMARY)


def policies(body: NameList) -> Iterator[tuple[str, bytes]]:
    """Yield the name and the record of each policy, in the order of `zone_records`."""
    for owner, action in zone_records(body):
        labels = b"".join([len(label).to_bytes() + label for label in owner.encode("ascii").split(b".")])
        yield owner, labels + _TARGETS[action]


def pack(records: Iterable[bytes]) -> Iterator[Records]:
    """Yield the records in as many messages as they need."""
    waiting: list[bytes] = []
    octets = 0
    for record in records:
        if octets + len(record) > MESSAGE_OCTETS:
            yield Records(len(waiting), b"".join(waiting))
            waiting, octets = [], 0
        waiting.append(record)
        octets += len(record)
    if waiting:
        yield Records(len(waiting), b"".join(waiting))


def _at_origin(rdtype: dns.rdatatype.RdataType, text: str) -> bytes:
    return ORIGIN + _rest(rdtype, dns.rdata.from_text(dns.rdataclass.IN, rdtype, text).to_wire() or b"")


def _rest(rdtype: dns.rdatatype.RdataType, rdata: bytes) -> bytes:
    """Return what follows an owner: type, class, TTL, length, data."""
    return pack_struct("!HHIH", rdtype, dns.rdataclass.IN, TTL_S, len(rdata)) + rdata


_TARGETS = {
    action: _at_origin(dns.rdatatype.CNAME, action.value)  # what is left of an owner, the zone's name, and the rest
    for action in Action
}
