"""Questions to name servers, on loopback where it is not said."""

import socket

import dns.exception
import dns.message
import dns.query
import dns.rdatatype

ANSWERED_S = 5  # a server that listens, and is about to begin or busy, may take long


def resolves(port: int, name: str) -> bool | None:
    """Tell whether the resolver has an address for `name`; None while nobody answers."""
    response = asked(port, dns.message.make_query(name, "A"))
    return None if response is None else any(rrset.rdtype == dns.rdatatype.A for rrset in response.answer)


def asked(port: int, query: dns.message.Message, address: str = "127.0.0.1") -> dns.message.Message | None:
    """Return what a name server answers to `query`; None at once where nobody listens."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as line:
        line.connect((address, port))  # so the kernel tells if nobody listens
        try:
            return dns.query.udp(query, address, ANSWERED_S, port, sock=line)
        except (OSError, dns.exception.Timeout):
            return None
