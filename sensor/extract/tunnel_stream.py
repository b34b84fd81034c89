"""Tunnel protocols of their own on TCP, recognised by how the client's, or OpenVPN's server's, first octets stand.

Each function raises what the parsers do (`NeedMoreData`: valid so far; `MalformedInput`: something else) and returns
the name of the tell. None of these beginnings can be another protocol's: see the reason at each.
"""

import re
from typing import Final

from sensor.errors import MalformedInput, NeedMoreData
from sensor.extract.handshake import is_openvpn_server_reset, read_openvpn_client

_YAMUX_OPENINGS: Final = (
    b"\0\x01\0\x01\0\0\0\x01",
    b"\0\0\0\x01\0\0\0\x01",
)  # stream 1 opened: update, or data
_FRP_LOGIN: Final = re.compile(rb'(?:\0[\0\x01]\0[\0\x01].{8}){0,3}o\0{6}.{2}\{"version":"', re.DOTALL)
_FRP_LOGIN_OCTETS: Final = 64

_GSOCKET_FIRST: Final = frozenset((1, 2))  # listen, connect
_GSOCKET_OCTETS: Final = 128
_GSOCKET_PADDING_AT: Final = 64

_RATHOLE_HELLO: Final = bytes(4) + b"\x01"  # variant 0, protocol version 1
_RATHOLE_OCTETS: Final = 37

_OPENVPN_RESETS: Final = frozenset((0x38, 0x50, 0x40))
_OPENVPN_LEAST_OCTETS: Final = 14
_OPENVPN_MOST_OCTETS: Final = 1500

_BORE: Final = re.compile(rb'\{"(?:Hello":[0-9]{1,5}|Accept":"[0-9a-f-]{36}"|Authenticate":"[0-9a-f]{64}")\}\0')

_JPRQ: Final = re.compile(rb"...\xff[\x81-\xff]\x03\x01\x01\x0fTunnelRequested", re.DOTALL)
_JPRQ_OCTETS: Final = 24
_JPRQ_TYPE_AT: Final = 3  # behind the length of the event and that of the type

_ZEROTIER_HELLO: Final = b"\x17\x03\x03\0\x04"


def read_zero_first(stream: bytes) -> str:
    """Return `frp-login` or `rathole-hello` for a stream that begins with an octet of 0.

    Neither can be DNS over TCP, whose messages are longer than one octet.
    """
    if any(opening.startswith(stream[:8]) for opening in _YAMUX_OPENINGS):
        return _read_frp_login(stream)
    if not _RATHOLE_HELLO.startswith(stream[: len(_RATHOLE_HELLO)]):
        raise MalformedInput(0, "no tunnel that begins with 0")
    if len(stream) < _RATHOLE_OCTETS:
        raise NeedMoreData
    if b"\0\0\0" in stream[len(_RATHOLE_HELLO) : _RATHOLE_OCTETS]:
        raise MalformedInput(len(_RATHOLE_HELLO), "no digest")
    return "rathole-hello"


def read_frp_login(stream: bytes) -> str:
    """Return `frp-login` for a login message without TLS and multiplexing: `o`, its length in 8 octets, JSON."""
    if not b"o\0\0\0\0\0\0".startswith(stream[:7]):
        raise MalformedInput(0, "no login of frp")
    return _read_frp_login(stream)


def _read_frp_login(stream: bytes) -> str:
    if _FRP_LOGIN.match(stream):
        return "frp-login"
    if len(stream) >= _FRP_LOGIN_OCTETS:
        raise MalformedInput(0, "no login of frp")
    raise NeedMoreData


def read_gsocket(stream: bytes) -> str:
    """Return `gsocket` for the first message to its relay: type, version, flags, zeros, address, zeros.

    As DNS over TCP it would be a message without a question.
    """
    is_start = stream[0] in _GSOCKET_FIRST and stream[1:2] in {b"", b"\x01"} and not any(stream[4:16])
    if not is_start or any(stream[_GSOCKET_PADDING_AT:_GSOCKET_OCTETS]):
        raise MalformedInput(0, "no message to a gsocket relay")
    if len(stream) < _GSOCKET_OCTETS:
        raise NeedMoreData
    if not any(stream[16:_GSOCKET_PADDING_AT]):
        raise MalformedInput(16, "no gsocket address")
    return "gsocket"


def read_openvpn(stream: bytes) -> str:
    """Return `openvpn-reset` or `openvpn-handshake` for OpenVPN over TCP: a length in 2 octets before each packet."""
    end = 2 + int.from_bytes(stream[:2], "big")
    may_be = _OPENVPN_LEAST_OCTETS <= end - 2 <= _OPENVPN_MOST_OCTETS
    if len(stream) < 3:  # noqa: PLR2004 - length and opcode
        raise NeedMoreData
    if not may_be or stream[2] not in _OPENVPN_RESETS:
        raise MalformedInput(2, "no OpenVPN reset")
    if len(stream) < end:
        raise NeedMoreData
    packet = stream[2:end]
    if read_openvpn_client(packet) is not None:
        return "openvpn-reset"
    if is_openvpn_server_reset(packet):
        return "openvpn-handshake"
    raise MalformedInput(2, "no OpenVPN reset")


def read_bore(stream: bytes) -> str:
    """Return `bore` for the client's first message: JSON that ends in a NUL."""
    if _BORE.match(stream):
        return "bore"
    raise MalformedInput(0, "no message of bore")


def read_jprq(stream: bytes) -> str:
    """Return `jprq` for the client's request: a length in 2 octets, then the type's name as Go's gob writes it.

    As DNS over TCP it would have more than one question.
    """
    if stream[_JPRQ_TYPE_AT : _JPRQ_TYPE_AT + 1] != b"\xff" or stream[5:9] != b"\x03\x01\x01\x0f"[: len(stream[5:9])]:
        raise MalformedInput(_JPRQ_TYPE_AT, "no request of jprq")
    if _JPRQ.match(stream):
        return "jprq"
    if len(stream) >= _JPRQ_OCTETS:
        raise MalformedInput(_JPRQ_TYPE_AT, "no request of jprq")
    raise NeedMoreData


def read_zerotier(stream: bytes) -> str:
    """Return `zerotier-tcp` for its greeting: as TLS application data it would be too short to hold a tag."""
    if not _ZEROTIER_HELLO.startswith(stream[:5]):
        raise MalformedInput(0, "no ZeroTier greeting")
    if len(stream) < len(_ZEROTIER_HELLO):
        raise NeedMoreData
    return "zerotier-tcp"
