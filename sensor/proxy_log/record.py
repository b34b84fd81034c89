"""One request or connection as a proxy logged it, whatever the proxy."""

import ipaddress
from dataclasses import dataclass

from sensor.errors import MalformedLogLine

UNKNOWN_ADDRESS = bytes(4)  # 0.0.0.0 (RFC 1122 section 3.2.1.3): the log does not say where the proxy went
MAX_USER_OCTETS = 64
CONNECT = "CONNECT"
CONNECTED = 200
DENIED = 403
SERVER_ERROR = 500


@dataclass(frozen=True, slots=True)
class ProxyRecord:
    """What one line says.

    `host` is folded, `port` 0 where it is not known. `began_ns` is when the client asked. `octets_out` and `octets_in`
    are the client's, 0 where the log does not count them. `is_denied`: the proxy itself refused; `is_established`: the
    client got through to the host.
    """

    began_ns: int
    duration_ms: int
    client: bytes
    client_port: int
    method: str
    host: str
    port: int
    sni: str | None = None
    server: bytes = UNKNOWN_ADDRESS
    octets_out: int = 0
    octets_in: int = 0
    user: str | None = None
    is_denied: bool = False
    is_established: bool = False

    @property
    def ended_ns(self) -> int:
        """Return when the proxy was done with it."""
        return self.began_ns + self.duration_ms * 1_000_000


def packed_address(text: bytes, offset: int) -> bytes:
    """Return an IPv4 or IPv6 address as packed octets; IPv4 mapped into IPv6 (RFC 4291 section 2.5.5.2) as IPv4.

    Raises:
        MalformedLogLine: not an address, such as the name that a proxy looked up for it.
    """
    try:
        address = ipaddress.ip_address(text.decode("ascii"))
    except ValueError:
        raise MalformedLogLine(offset, "no address of a client") from None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).packed


def is_established(method: str, status: int, octets_in: int) -> bool:
    """Tell whether a request with this answer reached the host: a tunnel was made, or the host answered something."""
    answered = status == CONNECTED if method == CONNECT else CONNECTED <= status < SERVER_ERROR
    return answered and octets_in > 0
