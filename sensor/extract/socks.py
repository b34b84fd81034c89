"""The client's side of SOCKS 4, 4a and 5 (RFC 1928, RFC 1929).

The client's messages follow each other in the stream without a gap: greeting, credentials if it has any, request.
Credentials are stepped over and never kept.
"""

import ipaddress
import struct
from enum import IntEnum
from typing import Final

from rules.values.value import Value
from sensor.errors import MalformedInput, NeedMoreData
from sensor.extract.text import fold_host

MAX_STRING_OCTETS: Final = 255

_SOCKS4_HEAD: Final = struct.Struct(">BBHI")
_NO_AUTHENTICATION: Final = 0
_USER_AND_PASSWORD: Final = 2
_SUBNEGOTIATION_VERSION: Final = 1


class Version(IntEnum):
    """The first octet of each message."""

    SOCKS4 = 4
    SOCKS5 = 5


class Command(IntEnum):
    """What the client wants (RFC 1928 section 4)."""

    CONNECT = 1
    BIND = 2
    UDP_ASSOCIATE = 3


class AddressType(IntEnum):
    """How the destination is written (RFC 1928 section 5)."""

    IPV4 = 1
    NAME = 3
    IPV6 = 4


class SocksRequest(Value, frozen=True):
    """Where the client wants to go: a folded name or an address in text. The inner stream starts at `head_octets`."""

    version: Version
    command: Command
    host: str
    port: int
    head_octets: int


def read_socks(stream: bytes) -> SocksRequest:
    """Return the request of the SOCKS client whose stream begins with `stream`.

    Raises:
        NeedMoreData: valid so far, but not complete.
        MalformedInput: not SOCKS.
    """
    if not stream:
        raise NeedMoreData
    if stream[0] == Version.SOCKS4:
        return _read_socks4(stream)
    if stream[0] == Version.SOCKS5:
        return _read_request(stream, _greeting_end(stream))
    raise MalformedInput(0, f"SOCKS version {stream[0]}")


def _read_socks4(stream: bytes) -> SocksRequest:
    """Read `VN CD DSTPORT DSTIP USERID NUL`; 4a, with the address 0.0.0.x, adds `NAME NUL`."""
    if len(stream) > 1 and stream[1] not in {Command.CONNECT, Command.BIND}:
        raise MalformedInput(1, f"SOCKS4 command {stream[1]}")
    if len(stream) < _SOCKS4_HEAD.size:
        raise NeedMoreData
    _, command, port, address = _SOCKS4_HEAD.unpack_from(stream)
    if not port or not address:
        raise MalformedInput(2, "SOCKS4 without a destination")
    at = _string_end(stream, _SOCKS4_HEAD.size)
    host = str(ipaddress.IPv4Address(address))
    if address <= MAX_STRING_OCTETS:
        start, at = at, _string_end(stream, at)
        host = _host_name(stream[start : at - 1], start)
    return SocksRequest(Version.SOCKS4, Command(command), host, port, at)


def _string_end(stream: bytes, start: int) -> int:
    """Return the offset behind the NUL-terminated printable string at `start`."""
    end = stream.find(b"\0", start, start + MAX_STRING_OCTETS + 1)
    text = stream[start : end if end >= 0 else start + MAX_STRING_OCTETS + 1]
    if len(text) > MAX_STRING_OCTETS or not all(octet >= ord(" ") for octet in text):
        raise MalformedInput(start, "no SOCKS4 string")
    if end < 0:
        raise NeedMoreData
    return end + 1


def _greeting_end(stream: bytes) -> int:
    """Return the offset of the SOCKS5 request, behind `VER NMETHODS METHODS` and the credentials if there are any."""
    count = _octet(stream, 1)
    methods = stream[2 : 2 + count]  # servers pass over those that they do not know, and repetitions
    if not count:
        raise MalformedInput(1, "no SOCKS5 methods")
    at = 2 + count
    if _octet(stream, at) != _SUBNEGOTIATION_VERSION or _USER_AND_PASSWORD not in methods:
        return at
    for _ in range(2):  # RFC 1929 section 2: ULEN UNAME, PLEN PASSWD
        at += _octet(stream, at + 1) + 1
    return at + 1


def _read_request(stream: bytes, start: int) -> SocksRequest:
    """Read `VER CMD RSV ATYP DST.ADDR DST.PORT` (RFC 1928 section 4)."""
    if _octet(stream, start) != Version.SOCKS5:
        raise MalformedInput(start, "not a SOCKS5 request")
    command, reserved = _octet(stream, start + 1), _octet(stream, start + 2)
    if command not in set(Command) or reserved:
        raise MalformedInput(start + 1, f"SOCKS5 command {command}")
    host, at = _read_address(stream, start + 3)
    port = _octet(stream, at) << 8 | _octet(stream, at + 1)
    return SocksRequest(Version.SOCKS5, Command(command), host, port, at + 2)


def _read_address(stream: bytes, at: int) -> tuple[str, int]:
    """Return the destination's host and the offset behind it (RFC 1928 section 5)."""
    kind = _octet(stream, at)
    if kind == AddressType.NAME:
        start = at + 2
        end = start + _octet(stream, at + 1)
        return _host_name(_octets(stream, start, end), start), end
    if kind == AddressType.IPV4:
        return str(ipaddress.IPv4Address(_octets(stream, at + 1, at + 5))), at + 5
    if kind == AddressType.IPV6:
        return str(ipaddress.IPv6Address(_octets(stream, at + 1, at + 17))), at + 17
    raise MalformedInput(at, f"SOCKS5 address type {kind}")


def _host_name(name: bytes, at: int) -> str:
    if not name:
        raise MalformedInput(at, "an empty host name")
    return fold_host(name)


def _octet(stream: bytes, at: int) -> int:
    if at >= len(stream):
        raise NeedMoreData
    return stream[at]


def _octets(stream: bytes, start: int, end: int) -> bytes:
    if end > len(stream):
        raise NeedMoreData
    return stream[start:end]
