"""What a name server with nothing but policy zones answers: to whom, to which question, in how many messages."""

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rdtypes.ANY.SOA
import dns.rrset

from api.access.addresses import Address
from api.errors import UnrenderableSnapshot
from api.feeds.rpz import PRIMARY, TTL_S, soa_text
from api.zone.keys import Keyring
from api.zone.messages import FUDGE_S, refuse_malformed, refuse_signature, transfer_messages
from api.zone.policy_zone import PolicyZone, is_up_to_date
from rules.lists.blocklist import Snapshot

HEADER_OCTETS = 12
TRANSFERS = (dns.rdatatype.AXFR, dns.rdatatype.IXFR)


class Kind(StrEnum):
    """What is counted."""

    SOA = "soa"
    NS = "ns"
    AXFR = "axfr"
    IXFR = "ixfr"
    UNCHANGED = "unchanged"
    REFUSED = "refused"
    BAD_KEY = "bad_key"
    MALFORMED = "malformed"
    NOT_READY = "not_ready"


@dataclass(frozen=True, slots=True)
class Transfer:
    """What became of a secondary's wish for the zone over TCP.

    Args:
        profile: whose zone.
        key: the name of its key, empty on this host.
        address: where it is.
        serial: that of the list it has now, None when it was given nothing.
        is_new: it had another one before.
    """

    profile: str
    key: str
    address: str
    serial: int | None
    is_new: bool = True


class Answers:
    """Answers of the zones to secondaries. Beyond loopback every question must be signed with a key that is known."""

    def __init__(
        self,
        zones: Mapping[dns.name.Name, PolicyZone],
        keyring: Callable[[], Keyring],
        note: Callable[[Transfer], None] = lambda _transfer: None,
    ) -> None:
        """Serve `zones` to the holders of the keys; `note` is told what a secondary has now, or was not given."""
        self._note = note
        self.counts: Counter[str] = Counter()
        self._counting = threading.Lock()  # transfers are made in several threads
        self._zones = zones
        self._keyring = keyring

    def answer(self, wire: bytes, client: Address, *, over_tcp: bool) -> Iterable[bytes]:
        """Return the messages to send, none for what is no question. A zone that is asked for first is made here."""
        if len(wire) < HEADER_OCTETS or is_response(wire):
            self._count(Kind.MALFORMED)
            return ()
        keyring = self._keyring()
        try:
            query = dns.message.from_wire(wire, keyring=keyring.tsig)
        except (dns.exception.DNSException, ValueError) as error:
            return self._refuse_unread(wire, keyring, error)
        try:
            _require_permission(query, keyring, client)
            zone = self._zone_of(query, over_tcp=over_tcp)
            _require_profile(query, keyring, zone.profile)
            return self._from(zone, query, client, over_tcp=over_tcp)
        except _Refused as refusal:
            return self._error(query, refusal.rcode, refusal.kind)
        except UnrenderableSnapshot:
            return self._error(query, dns.rcode.SERVFAIL, Kind.NOT_READY)

    def _zone_of(self, query: dns.message.Message, *, over_tcp: bool) -> PolicyZone:
        if query.opcode() != dns.opcode.QUERY:
            raise _Refused(dns.rcode.NOTIMP, Kind.REFUSED)
        if len(query.question) != 1:
            raise _Refused(dns.rcode.FORMERR, Kind.MALFORMED)
        question = query.question[0]
        zone = self._zones.get(question.name)
        is_known = question.rdtype in (dns.rdatatype.SOA, dns.rdatatype.NS, *TRANSFERS)
        is_whole_over_udp = question.rdtype == dns.rdatatype.AXFR and not over_tcp
        if zone is None or question.rdclass != dns.rdataclass.IN or not is_known or is_whole_over_udp:
            raise _Refused(dns.rcode.REFUSED, Kind.REFUSED)
        return zone

    def _from(
        self, zone: PolicyZone, query: dns.message.Message, client: Address, *, over_tcp: bool
    ) -> Iterable[bytes]:
        snapshot, rdtype = zone.current(), query.question[0].rdtype
        asks = Transfer(zone.profile, _key_of(query), str(client), snapshot.serial if snapshot else None)
        if snapshot is None:
            self._note(asks)
            raise _Refused(dns.rcode.SERVFAIL, Kind.NOT_READY)
        if rdtype not in TRANSFERS:
            return self._single(query, snapshot, rdtype)
        client_serial = _client_serial(query) if rdtype == dns.rdatatype.IXFR else None
        if client_serial is not None and (not over_tcp or is_up_to_date(client_serial, snapshot)):
            if over_tcp:
                self._note(replace(asks, is_new=False))
            return self._single(query, snapshot, dns.rdatatype.SOA, Kind.UNCHANGED)
        found = zone.changes(client_serial, snapshot) if client_serial is not None else None
        self._count(Kind.IXFR if found else Kind.AXFR)
        return self._noted(transfer_messages(query, found or zone.whole(snapshot)), asks)

    def _noted(self, messages: Iterator[bytes], transfer: Transfer) -> Iterator[bytes]:
        """Yield the messages; the transfer is noted when the last one was taken."""
        yield from messages
        self._note(transfer)

    def _single(
        self,
        query: dns.message.Message,
        snapshot: Snapshot,
        rdtype: dns.rdatatype.RdataType,
        kind: Kind | None = None,
    ) -> Iterable[bytes]:
        """Return one record; to an IXFR over UDP it says: come over TCP if yours is older (RFC 1995 section 2)."""
        self._count(kind or (Kind.SOA if rdtype == dns.rdatatype.SOA else Kind.NS))
        response = _response(query)
        text = soa_text(snapshot.serial) if rdtype == dns.rdatatype.SOA else PRIMARY
        owner = query.question[0].name
        response.answer.append(dns.rrset.from_text(owner, TTL_S, dns.rdataclass.IN, rdtype, text))
        return (response.to_wire(),)

    def _error(self, query: dns.message.Message, rcode: dns.rcode.Rcode, kind: Kind) -> Iterable[bytes]:
        self._count(kind)
        response = _response(query)
        response.flags &= ~dns.flags.AA
        response.set_rcode(rcode)
        return (response.to_wire(),)

    def _refuse_unread(self, wire: bytes, keyring: Keyring, error: Exception) -> Iterable[bytes]:
        """Answer what could not be read: a signature that is not good, or no message at all."""
        refusal = refuse_signature(wire, keyring, error)
        self._count(Kind.BAD_KEY if refusal else Kind.MALFORMED)
        return (refusal or refuse_malformed(wire),)

    def _count(self, kind: Kind) -> None:
        with self._counting:
            self.counts[kind] += 1


class _Refused(Exception):
    def __init__(self, rcode: dns.rcode.Rcode, kind: Kind) -> None:
        super().__init__(rcode)
        self.rcode = rcode
        self.kind = kind


def is_response(wire: bytes) -> bool:
    """Tell whether a message of at least a header's length answers another one (RFC 1035 section 4.1.1, QR)."""
    return bool(wire[2] & dns.flags.QR >> 8)


def _require_permission(query: dns.message.Message, keyring: Keyring, client: Address) -> None:
    name = query.keyname
    if not (client.is_loopback if name is None else keyring.permits(name, client)):
        raise _Refused(dns.rcode.REFUSED, Kind.REFUSED)


def _require_profile(query: dns.message.Message, keyring: Keyring, profile: str) -> None:
    if query.keyname is not None and not keyring.opens(query.keyname, profile):
        raise _Refused(dns.rcode.REFUSED, Kind.REFUSED)


def _response(query: dns.message.Message) -> dns.message.Message:
    response = dns.message.make_response(query, fudge=FUDGE_S)
    response.flags |= dns.flags.AA
    return response


def _key_of(query: dns.message.Message) -> str:
    return query.keyname.to_text(omit_final_dot=True) if query.keyname is not None else ""


def _client_serial(query: dns.message.Message) -> int:
    """Return the serial that the client has, from its authority section (RFC 1995 section 3)."""
    found = [row[0] for row in query.authority if row.rdtype == dns.rdatatype.SOA and len(row)]
    if not found or not isinstance(found[0], dns.rdtypes.ANY.SOA.SOA):
        raise _Refused(dns.rcode.FORMERR, Kind.MALFORMED)
    return found[0].serial
