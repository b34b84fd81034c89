"""Messages of several parts or with a signature of their own, which `dns.message` does not make for a server."""

import time
from collections.abc import Iterator

import dns.exception
import dns.flags
import dns.message
import dns.rcode
import dns.rdtypes.ANY.TSIG
import dns.renderer
import dns.rrset
import dns.tsig

from api.zone.keys import Keyring
from api.zone.records import Records

FUDGE_S = 300
MAX_MESSAGE_OCTETS = 65_535
TIME_OCTETS = 6
_SIGNATURE_ERRORS = (
    (dns.message.UnknownTSIGKey, dns.rcode.BADKEY),
    (dns.tsig.BadKey, dns.rcode.BADKEY),
    (dns.tsig.BadAlgorithm, dns.rcode.BADKEY),
    (dns.tsig.BadSignature, dns.rcode.BADSIG),
    (dns.tsig.BadTime, dns.rcode.BADTIME),
)


def transfer_messages(query: dns.message.Message, transfer: tuple[Records, ...]) -> Iterator[bytes]:
    """Yield the messages of a transfer, each with the question, and signed where the query was (RFC 8945 5.3.1)."""
    question, key, context = query.question[0], query.keyring, None
    for number, records in enumerate(transfer):
        message = dns.renderer.Renderer(query.id, dns.flags.QR | dns.flags.AA, MAX_MESSAGE_OCTETS)
        message.add_question(question.name, question.rdtype)
        message.output.write(records.octets)
        message.counts[dns.renderer.ANSWER] += records.count
        if query.edns >= 0 and number == 0:
            message.add_edns(0, 0, MAX_MESSAGE_OCTETS)
        message.write_header()
        if isinstance(key, dns.tsig.Key):
            signing = (key.name, key, FUDGE_S, query.id, 0, b"", query.mac, key.algorithm)
            context = message.add_multi_tsig(context, *signing)
        yield message.get_wire()


def refuse_signature(wire: bytes, keyring: Keyring, error: Exception) -> bytes | None:
    """Return NOTAUTH with what is wrong with a query's signature; None when that is not what `error` says.

    Only BADTIME is signed itself: the client knows that key (RFC 8945 section 5.2).
    """
    code = next((code for kind, code in _SIGNATURE_ERRORS if isinstance(error, kind)), None)
    query = _unverified(wire) if code is not None else None
    if code is None or query is None or query.tsig is None:
        return None
    name, given = query.tsig.name, query.tsig[0]
    response = dns.message.make_response(query)
    response.set_rcode(dns.rcode.NOTAUTH)
    said = given.replace(mac=b"", error=int(code))
    if code == dns.rcode.BADTIME and isinstance(given, dns.rdtypes.ANY.TSIG.TSIG):
        said = said.replace(other=int(time.time()).to_bytes(TIME_OCTETS))
        said, _ = dns.tsig.sign(response.to_wire(), keyring.tsig[name], said, given.time_signed, given.mac)
    response.tsig = dns.rrset.from_rdata(name, 0, said)
    return response.to_wire()


def refuse_malformed(wire: bytes) -> bytes:
    """Return a header that says FORMERR: what came after the query's cannot be read."""
    response = dns.message.Message(int.from_bytes(wire[:2]))
    response.flags = dns.flags.QR
    response.set_rcode(dns.rcode.FORMERR)
    return response.to_wire()


def _unverified(wire: bytes) -> dns.message.Message | None:
    try:
        return dns.message.from_wire(wire, keyring=False)
    except (dns.exception.DNSException, ValueError):
        return None
