"""The first datagrams of VPN and mesh protocols, recognised by content on any port.

`read_handshake` is a pure function of one datagram. Each recogniser starts from octets that the protocol fixes, so most
datagrams cost one look-up by their first octet and one comparison (`bench/extract.py`).
"""

from collections.abc import Callable
from typing import Final

from rules.values.value import Value

_WIREGUARD_INITIATION: Final = b"\x01\0\0\0"
_INITIATION_OCTETS: Final = 148
_RESPONSE_OCTETS: Final = 92

_CLIENT_RESETS: Final = frozenset((0x38, 0x50))  # P_CONTROL_HARD_RESET_CLIENT_V2 and _V3, key 0
_SERVER_RESET: Final = 0x40  # P_CONTROL_HARD_RESET_SERVER_V2, key 0
_PLAIN_RESET_OCTETS: Final = 14
_NO_ACKS_FIRST_MESSAGE: Final = bytes(5)  # no acknowledgements, message number 0
_SIGNED_RESET_OCTETS: Final = frozenset((42, 54, 86))  # with an HMAC of SHA-1, SHA-256 or SHA-512
_ENCRYPTED_RESET_OCTETS: Final = 54
_FIRST_PACKET_IDS: Final = frozenset((b"\0\0\0\x01", b"\x0f\0\0\x01"))  # the second asks for early negotiation
_EARLIEST_TIME: Final = 1_262_304_000  # 2010: the wrapped packet's time in seconds
_PLAIN_ANSWER_OCTETS: Final = 26
_MOST_SERVER_RESET_OCTETS: Final = 200

_DISCO_MAGIC: Final = "TS💬".encode()
_DISCO_OCTETS: Final = 6 + 32 + 24 + 16  # magic, sender's key, nonce, authenticator
_STUN_BINDING_REQUEST: Final = b"\0\x01"
_STUN_COOKIE: Final = b"\x21\x12\xa4\x42"
_STUN_SOFTWARE_TAILNODE: Final = b"\x80\x22\0\x08tailnode"

_NEBULA_FIRST: Final = bytes.fromhex("10000000000000000000000000000001")
_NEBULA_SECOND_START: Final = b"\x10\0\0\0"
_NEBULA_SECOND_END: Final = bytes(7) + b"\x02"
_NEBULA_HEADER: Final = 16
_NEBULA_DETAILS_AT: Final = 80  # behind the header and two keys
_PROTOBUF_FIELD_1: Final = 0x0A

_ZEROTIER_VERB_AT: Final = 27
_ZEROTIER_HELLO: Final = 0x01
_ZEROTIER_UNENCRYPTED: Final = 0x07  # what the flags octet may hold beside the hop count: nothing
_ZEROTIER_LEAST_OCTETS: Final = 128
_ZEROTIER_VERSIONS: Final = range(4, 32)

_PLAYIT_PING: Final = b"\0\0\0\x06"
_PLAYIT_PONG: Final = b"\0\0\0\x01"
_PLAYIT_KIND_AT: Final = 8  # behind the number of the request
_PLAYIT_TIME_AT: Final = 12
_PLAYIT_PING_OCTETS: Final = {22: b"\0\0", 26: b"\x01\0", 46: b"\0\x01", 50: b"\x01\x01"}  # by what is given
_PLAYIT_TIMES_MS: Final = range(1_577_836_800_000, 4_102_444_800_000)  # 2020 to 2100

_HYPERDHT_OCTETS: Final = 10
_IPV4_OCTETS: Final = 4


class Handshake(Value, frozen=True):
    """A recognised datagram: what it is, and the octets that an answer to it repeats (empty: it is an answer).

    Without a protocol it may be one, which the answer will tell.
    """

    protocol: str
    token: bytes = b""


_Reader = Callable[[bytes, bytes], Handshake | None]


def read_handshake(payload: bytes, dst: bytes, dst_port: int, expected: bytes) -> Handshake | None:
    """Return what `payload` begins, or None.

    Args:
        payload: the datagram, at least one octet.
        dst: the packed address it goes to.
        dst_port: its destination port; only compared with what the datagram itself says.
        expected: the token of the handshake that the other side began, empty if it began none.
    """
    reader = _READERS.get(payload[0])
    found = reader(payload, expected) if reader is not None else None
    if found is None and payload[0] in _HYPERDHT_FIRST and _names_its_destination(payload, dst, dst_port):
        return Handshake("hyperdht")
    return found or _read_zerotier(payload)


def _read_wireguard_initiation(payload: bytes, _expected: bytes) -> Handshake | None:
    """Read `type 1, sender index, keys...`; keys are random, KCP with conversation 1 has zeros where they stand.

    The three octets behind the type are zero, but for WARP, which puts a number of the client there.
    """
    if len(payload) != _INITIATION_OCTETS or b"\0\0\0" in payload[8:88]:
        return None
    is_plain = payload.startswith(_WIREGUARD_INITIATION)
    return Handshake("wireguard-initiation" if is_plain else "", payload[4:8])


def _read_wireguard_response(payload: bytes, expected: bytes) -> Handshake | None:
    """Read `type 2, sender index, receiver index, keys...` that answers a known initiation."""
    is_answer = len(payload) == _RESPONSE_OCTETS and any(expected) and payload[8:12] == expected
    return Handshake("wireguard-handshake") if is_answer else None


def read_openvpn_client(payload: bytes, _expected: bytes = b"") -> Handshake | None:
    """Read a client's hard reset: bare, signed (`tls-auth`) or encrypted (`tls-crypt`, `tls-crypt-v2`)."""
    is_reset = payload[0] in _CLIENT_RESETS and (
        (len(payload) == _PLAIN_RESET_OCTETS and payload.endswith(_NO_ACKS_FIRST_MESSAGE))
        or (len(payload) in _SIGNED_RESET_OCTETS and _is_signed(payload))
        or (len(payload) >= _ENCRYPTED_RESET_OCTETS and _has_first_packet_id(payload, 9))
    )
    return Handshake("openvpn-reset", payload[1:9]) if is_reset else None


def _is_signed(payload: bytes) -> bool:
    return payload.endswith(_NO_ACKS_FIRST_MESSAGE) and _has_first_packet_id(payload, len(payload) - 13)


def _has_first_packet_id(payload: bytes, at: int) -> bool:
    """Tell whether packet number 1 and a time stand at `at`, as `tls-auth` and `tls-crypt` write them."""
    time_s = int.from_bytes(payload[at + 4 : at + 8], "big")
    return payload[at : at + 4] in _FIRST_PACKET_IDS and time_s >= _EARLIEST_TIME


def _read_openvpn_server(payload: bytes, expected: bytes) -> Handshake | None:
    """Read a server's hard reset that names the client's session, or, encrypted, one that answers a client's reset."""
    if not expected or len(payload) > _MOST_SERVER_RESET_OCTETS:
        return None
    is_answer = expected in payload or _has_first_packet_id(payload, 9)
    return Handshake("openvpn-handshake") if is_answer else None


def is_openvpn_server_reset(packet: bytes) -> bool:
    """Tell whether `packet` is a server's hard reset, whoever's session it answers: bare, signed or encrypted."""
    if packet[:1] != bytes((_SERVER_RESET,)) or not _PLAIN_ANSWER_OCTETS <= len(packet) <= _MOST_SERVER_RESET_OCTETS:
        return False
    acknowledges_first = packet[-17:-12] == b"\x01" + bytes(4) and packet.endswith(bytes(4))
    is_plain = len(packet) == _PLAIN_ANSWER_OCTETS and acknowledges_first
    is_signed = acknowledges_first and _has_first_packet_id(packet, len(packet) - 25)
    return is_plain or is_signed or _has_first_packet_id(packet, 9)


def _read_disco(payload: bytes, _expected: bytes) -> Handshake | None:
    is_disco = payload.startswith(_DISCO_MAGIC) and len(payload) >= _DISCO_OCTETS
    return Handshake("tailscale-disco") if is_disco else None


def _read_stun(payload: bytes, _expected: bytes) -> Handshake | None:
    """Read a STUN request (RFC 8489) whose SOFTWARE attribute is that of Tailscale's client."""
    is_request = payload.startswith(_STUN_BINDING_REQUEST) and payload[4:8] == _STUN_COOKIE
    return Handshake("tailscale-stun") if is_request and _STUN_SOFTWARE_TAILNODE in payload else None


def _read_zero_first(payload: bytes, expected: bytes) -> Handshake | None:
    return _read_stun(payload, expected) or _read_playit(payload, expected)


def _read_playit(payload: bytes, expected: bytes) -> Handshake | None:
    """Read a ping (request, kind 6, time in ms, whether round trip and session are given) or the pong to it."""
    kind, time = payload[_PLAYIT_KIND_AT:_PLAYIT_TIME_AT], payload[_PLAYIT_TIME_AT : _PLAYIT_TIME_AT + 8]
    if kind == _PLAYIT_PONG:
        return Handshake("playit-control") if expected and time == expected else None
    given = _PLAYIT_PING_OCTETS.get(len(payload))
    if kind != _PLAYIT_PING or given is None or int.from_bytes(time, "big") not in _PLAYIT_TIMES_MS:
        return None
    session_at = 25 if given[0] else 21
    is_ping = payload[20] == given[0] and payload[session_at] == given[1]
    return Handshake("playit-ping", time) if is_ping else None


def _read_nebula(payload: bytes, expected: bytes) -> Handshake | None:
    """Read a handshake's header: version 1, type 0, index, counter 1 or, in the answer, 2.

    Behind the first one's keys its details stand in the clear, as protobuf.
    """
    if len(payload) <= _NEBULA_DETAILS_AT:
        return None
    if payload.startswith(_NEBULA_FIRST) and payload[_NEBULA_DETAILS_AT] == _PROTOBUF_FIELD_1:
        return Handshake("nebula-handshake", _NEBULA_FIRST)
    is_second = payload.startswith(_NEBULA_SECOND_START) and payload[8:_NEBULA_HEADER] == _NEBULA_SECOND_END
    return Handshake("nebula-handshake") if is_second and expected == _NEBULA_FIRST else None


def _read_zerotier(payload: bytes) -> Handshake | None:
    """Read a HELLO: unencrypted, and its identity repeats the sender's address of the header."""
    if len(payload) < _ZEROTIER_LEAST_OCTETS or payload[_ZEROTIER_VERB_AT] != _ZEROTIER_HELLO:
        return None
    is_hello = (
        payload[18] <= _ZEROTIER_UNENCRYPTED
        and payload[28] in _ZEROTIER_VERSIONS
        and payload[13:18] == payload[41:46]
        and any(payload[13:18])
        and not payload[46]
    )
    return Handshake("zerotier-hello", payload[13:18]) if is_hello else None


def _names_its_destination(payload: bytes, dst: bytes, dst_port: int) -> bool:
    """Tell whether address and port stand behind the head of a DHT message, as dht-rpc writes both into each one."""
    return (
        len(payload) >= _HYPERDHT_OCTETS
        and len(dst) == _IPV4_OCTETS
        and payload[4:8] == dst
        and int.from_bytes(payload[8:10], "little") == dst_port
    )


_HYPERDHT_FIRST: Final = frozenset((0x03, 0x13))  # protocol version 3: a request, a response
_READERS: Final[dict[int, _Reader]] = {
    0x00: _read_zero_first,
    0x01: _read_wireguard_initiation,
    0x02: _read_wireguard_response,
    0x10: _read_nebula,
    0x38: read_openvpn_client,
    0x50: read_openvpn_client,
    0x40: _read_openvpn_server,
    _DISCO_MAGIC[0]: _read_disco,
}
