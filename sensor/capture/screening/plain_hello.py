"""Plain TLS ClientHellos, as nearly all are, and no others: as `screen_hello.h`. RFC 8446, RFC 6066, RFC 7301.

In one record, with one server name in lower case and at least one protocol name. Whatever is else is left to
`sensor.extract.tls`.
"""

import re
import struct
from typing import Final, NamedTuple

from sensor.errors import NeedMoreData

_RECORD_OCTETS: Final = 5
_HANDSHAKE_OCTETS: Final = 4
_HEADER_OCTETS: Final = _RECORD_OCTETS + _HANDSHAKE_OCTETS
_FIXED_OCTETS: Final = 34  # version and random
_HANDSHAKE: Final = 22
_VERSION: Final = 3
_CLIENT_HELLO: Final = 1
_MOST_RECORD: Final = 16_384
_SERVER_NAME: Final = 0
_ALPN: Final = 16
_MOST_PROTOCOLS: Final = 8
_MOST_PROTOCOL: Final = 64

_read_start: Final = struct.Struct(">BBxHBBH").unpack_from
_read_pair: Final = struct.Struct(">HH").unpack_from
_read_length: Final = struct.Struct(">H").unpack_from
_read_server: Final = struct.Struct(">HBH").unpack_from
_may_begin: Final = re.compile(rb"(?s)\x16?|\x16\x03.{0,3}|\x16\x03.{3}\x01.*").fullmatch
_may_be_hello: Final = re.compile(rb"(?s)\x16\x03...\x01").match
_is_host: Final = re.compile(rb"(?=[^a-z]*[a-z])[a-z0-9_-](?:[a-z0-9_.-]{0,251}[a-z0-9_-])?").fullmatch
_is_protocol: Final = re.compile(rb"[!-\[\]-~]+").fullmatch
is_server_hello: Final = re.compile(rb"(?s)\x16\x03...\x02").match


class Hello(NamedTuple):
    """The server name, and the body of the extension with the protocol names."""

    server: bytes
    alpn: bytes


def is_beginning(payload: bytes) -> bool:
    """Tell whether a connection whose SYN was not seen begins with `payload`."""
    return _may_be_hello(payload) is not None


def read_hello(octets: bytes) -> Hello | None:
    """Return what a hello that is all there says, None if it is not plain.

    Raises:
        NeedMoreData: it may be plain, but is not all there.
    """
    if len(octets) < _HEADER_OCTETS:
        if _may_begin(octets):
            raise NeedMoreData("a ClientHello")
        return None
    kind, version, record, message_kind, upper, lower = _read_start(octets)
    if kind != _HANDSHAKE or version != _VERSION or message_kind != _CLIENT_HELLO:
        return None
    if record > _MOST_RECORD or record != (upper << 16 | lower) + _HANDSHAKE_OCTETS:
        return None
    end = _RECORD_OCTETS + record
    if len(octets) < end:
        raise NeedMoreData("a ClientHello")
    try:
        return _read_body(octets, end)
    except (IndexError, struct.error):  # a length that leads out of it
        return None


def _read_body(octets: bytes, end: int) -> Hello | None:
    """Read what is behind the header; lengths only grow, so where the last one leads tells of them all."""
    at = _HEADER_OCTETS + _FIXED_OCTETS
    at += 1 + octets[at]  # the session
    (ciphers,) = _read_length(octets, at)
    at += 2 + ciphers
    at += 1 + octets[at]  # compression
    (length,) = _read_length(octets, at)
    at += 2
    if not ciphers or ciphers & 1 or at + length != end:
        return None
    server = alpn = None
    while at < end:
        kind, length = _read_pair(octets, at)
        at += 4
        if kind == _SERVER_NAME:
            if server is not None:
                return None
            server = _read_server_name(octets[at : at + length])
        elif kind == _ALPN:
            if alpn is not None:
                return None
            alpn = octets[at : at + length]
        at += length
    return Hello(server, alpn) if at == end and server and alpn else None


def _read_server_name(body: bytes) -> bytes:
    """Return the server name in the body of its extension (RFC 6066 section 3), b"" if that is not plain."""
    octets, kind, length = _read_server(body)
    return body[5:] if octets == len(body) - 2 and not kind and length == len(body) - 5 else b""


def read_host(server: bytes) -> str | None:
    """Return a server name if it is plain."""
    return server.decode("ascii") if _is_host(server) else None


def read_protocols(alpn: bytes) -> list[str] | None:
    """Return the protocol names in the body of their extension (RFC 7301 section 3.1), None if it is not plain."""
    if len(alpn) < 2 or _read_length(alpn)[0] != len(alpn) - 2:  # noqa: PLR2004 - octets of a length
        return None
    names: list[str] = []
    at = 2
    while at < len(alpn):
        name = alpn[at + 1 : at + 1 + alpn[at]]
        if len(name) != alpn[at] or len(name) > _MOST_PROTOCOL or not _is_protocol(name):
            return None
        names.append(name.decode("ascii"))
        at += 1 + alpn[at]
    return names if 0 < len(names) <= _MOST_PROTOCOLS else None
