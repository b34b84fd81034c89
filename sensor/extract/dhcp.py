"""DHCP (RFC 2131): which address a host has, and the name that it gives itself. Messages of servers and clients."""

import re
from enum import IntEnum
from typing import Final

from rules.values.value import Value
from sensor.errors import MalformedDhcp

COOKIE: Final = b"\x63\x82\x53\x63"
COOKIE_AT: Final = 236
OPTIONS_AT: Final = 240
SERVER_PORT: Final = 67
_ETHERNET: Final = 1
_MAC_OCTETS: Final = 6
_PAD, _END = 0, 255
_HOST_NAME, _REQUESTED, _LEASE_TIME, _TYPE, _CLIENT_FQDN = 12, 50, 51, 53, 81  # RFC 2132, RFC 4702
_FQDN_HEADER_OCTETS: Final = 3
_FQDN_IS_WIRE: Final = 0x04
_ADDRESS_OCTETS: Final = 4
_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9_])?")


class DhcpType(IntEnum):
    """DHCP message types (RFC 2132 section 9.6), those that say who has an address."""

    REQUEST = 3
    ACK = 5
    NAK = 6
    RELEASE = 7


class DhcpMessage(Value, frozen=True):
    """What a message says: `address` (packed) is the client's, None if none is named; `lease_s` 0 if not said."""

    kind: DhcpType
    transaction: int
    mac: str
    address: bytes | None
    host: str | None
    lease_s: int = 0


def is_likely_dhcp(payload: bytes) -> bool:
    """Tell whether a datagram is a DHCP message, by its magic cookie."""
    return payload[COOKIE_AT:OPTIONS_AT] == COOKIE and payload[:1] in (b"\x01", b"\x02")


def read_dhcp(payload: bytes) -> DhcpMessage | None:
    """Return what a DHCP message over Ethernet says; None where it says nothing of who has an address.

    Raises:
        MalformedDhcp: an option runs over the end of the message.
    """
    options = _options(payload)
    kind = options.get(_TYPE, b"")
    if payload[1:3] != bytes((_ETHERNET, _MAC_OCTETS)) or len(kind) != 1 or kind[0] not in set(DhcpType):
        return None
    return DhcpMessage(
        DhcpType(kind[0]),
        int.from_bytes(payload[4:8], "big"),
        payload[28:34].hex(":"),
        _address(payload, options),
        _host(options),
        int.from_bytes(options.get(_LEASE_TIME, b"")[:_ADDRESS_OCTETS], "big"),
    )


def _options(payload: bytes) -> dict[int, bytes]:
    """Return the options by their code, those that come twice joined (RFC 3396)."""
    found: dict[int, bytes] = {}
    at = OPTIONS_AT
    while at < len(payload) and payload[at] != _END:
        code = payload[at]
        at += 1
        if code == _PAD:
            continue
        if at >= len(payload) or at + 1 + payload[at] > len(payload):
            raise MalformedDhcp(at, f"option {code} runs over the end")
        found[code] = found.get(code, b"") + payload[at + 1 : at + 1 + payload[at]]
        at += 1 + payload[at]
    return found


def _address(payload: bytes, options: dict[int, bytes]) -> bytes | None:
    """Return the address that a server gives (yiaddr), or that the client asks for (option 50) or has (ciaddr)."""
    given, had = payload[16:20], payload[12:16]
    asked = options.get(_REQUESTED, b"")
    for candidate in (given, asked, had):
        if len(candidate) == _ADDRESS_OCTETS and any(candidate):
            return candidate
    return None


def _host(options: dict[int, bytes]) -> str | None:
    """Return the name that the client gives itself; the full one where it has both."""
    fqdn = options.get(_CLIENT_FQDN, b"")
    if len(fqdn) > _FQDN_HEADER_OCTETS:
        is_wire, octets = fqdn[0] & _FQDN_IS_WIRE, fqdn[_FQDN_HEADER_OCTETS:]
        if (name := _plain(_labels(octets) if is_wire else octets)) is not None:
            return name
    return _plain(options.get(_HOST_NAME, b""))


def _labels(octets: bytes) -> bytes:
    """Return a name in wire form (RFC 1035 section 3.1, without compression) with dots; empty if it is none."""
    labels, at = [], 0
    while at < len(octets) and octets[at]:
        labels.append(octets[at + 1 : at + 1 + octets[at]])
        at += 1 + octets[at]
    return b".".join(labels)


def _plain(octets: bytes) -> str | None:
    text = octets.rstrip(b"\0").decode("latin-1").rstrip(".")
    return text if _NAME.fullmatch(text) else None
