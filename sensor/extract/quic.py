"""QUIC Initials of a client: their ClientHello (RFC 9000, RFC 9001 section 5, RFC 9369).

Initials are encrypted with keys that follow from the connection ID, so whoever sees them can read them. A hello with a
post-quantum key share spans several Initials, and some clients split and shuffle its CRYPTO frames. A hello in two
datagrams costs about 70 us (`bench/extract.py`).
"""

import hmac
from enum import IntEnum
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB

from rules.values.observation import ClientHello
from rules.values.value import Value
from sensor.errors import MalformedQuic, MalformedTls, NeedMoreData
from sensor.extract.tls import parse_client_hello

MAX_CRYPTO_OCTETS: Final = 16384
MIN_INITIAL_DATAGRAM: Final = 1200  # RFC 9000 section 14.1

_IS_LONG: Final = 0x80
_IS_FIXED: Final = 0x40
_MAX_CONNECTION_ID: Final = 20
_HEADER_OCTETS: Final = 7 + _MAX_CONNECTION_ID  # up to the second connection ID's length, at most
_ZERO_RTT: Final = 0x10  # behind an Initial's type bits in both versions
_SAMPLE_OCTETS: Final = 16
_SAMPLE_OFFSET: Final = 4
_TAG_OCTETS: Final = 16
_MAX_COALESCED: Final = 8
_READER_OCTETS: Final = 4096  # keys and ciphers, most of it inside OpenSSL


class FrameType(IntEnum):
    """The frames an Initial may hold (RFC 9000 section 12.4)."""

    PADDING = 0x00
    PING = 0x01
    ACK = 0x02
    ACK_ECN = 0x03
    CRYPTO = 0x06
    CONNECTION_CLOSE = 0x1C


# As plain integers: comparing enumeration members costs a multiple.
_PADDING: Final = int(FrameType.PADDING)
_PING: Final = int(FrameType.PING)
_ACK: Final = int(FrameType.ACK)
_ACK_ECN: Final = int(FrameType.ACK_ECN)
_CRYPTO: Final = int(FrameType.CRYPTO)
_CONNECTION_CLOSE: Final = int(FrameType.CONNECTION_CLOSE)


class _Version(Value, frozen=True):
    """What differs between versions: salt, labels of what is derived, type bits of an Initial and of a Retry."""

    salt: bytes
    key_label: bytes
    iv_label: bytes
    mask_label: bytes
    initial: int
    retry: int


def _version(salt: str, name: bytes, initial: int, retry: int) -> _Version:
    labels = _label(name + b"key", 16), _label(name + b"iv", 12), _label(name + b"hp", 16)
    return _Version(bytes.fromhex(salt), *labels, initial, retry)


def _label(label: bytes, octets: int) -> bytes:
    """Return what HKDF-Expand-Label hashes for up to 32 octets, with an empty context (RFC 8446 section 7.1)."""
    label = b"tls13 " + label
    return octets.to_bytes(2, "big") + bytes([len(label)]) + label + b"\0\x01"


_CLIENT_LABEL: Final = _label(b"client in", 32)
_VERSIONS: Final = {
    0x00000001: _version("38762cf7f55934b34d179ae6a4c80cadccbb7f0a", b"quic ", 0x00, 0x30),
    0x6B3343CF: _version("0dede3def700a6db819381be6e269dcbf9bd2ed9", b"quicv2 ", 0x10, 0x00),
}


class _Packet(Value, frozen=True):
    """A long-header packet as offsets into its datagram; its packet number stands at `number_at`."""

    version: _Version
    is_initial: bool
    start: int
    number_at: int
    end: int
    dcid: bytes


class _Keys:
    """A client's Initial keys (RFC 9001 section 5.2); ECB has no state, so one header protection cipher serves all."""

    __slots__ = ("_aead", "_iv", "_mask")

    def __init__(self, version: _Version, dcid: bytes) -> None:
        initial_secret = hmac.digest(version.salt, dcid, "sha256")
        secret = hmac.digest(initial_secret, _CLIENT_LABEL, "sha256")
        self._aead = AESGCM(hmac.digest(secret, version.key_label, "sha256")[:16])
        self._iv = int.from_bytes(hmac.digest(secret, version.iv_label, "sha256")[:12], "big")
        header_key = hmac.digest(secret, version.mask_label, "sha256")[:16]
        self._mask = Cipher(AES(header_key), ECB()).encryptor()  # noqa: S305 - RFC 9001 section 5.4.3

    def decrypt(self, datagram: bytes, packet: _Packet) -> bytes:
        """Return the payload of an Initial.

        Raises:
            InvalidTag: another key protects it.
        """
        at = packet.number_at
        sample = datagram[at + _SAMPLE_OFFSET : at + _SAMPLE_OFFSET + _SAMPLE_OCTETS]
        mask = self._mask.update(sample)
        first = datagram[packet.start] ^ mask[0] & 0x0F
        size = (first & 0x03) + 1
        number = int.from_bytes(datagram[at : at + size], "big") ^ int.from_bytes(mask[1 : 1 + size], "big")
        header = bytes([first]) + datagram[packet.start + 1 : at] + number.to_bytes(size, "big")
        nonce = (self._iv ^ number).to_bytes(12, "big")
        return self._aead.decrypt(nonce, datagram[at + size : packet.end], header)


class _CryptoStream:
    """CRYPTO frames put in order; of octets sent twice the first ones count (RFC 9000 section 7.5)."""

    __slots__ = ("_octets", "_present")

    def __init__(self) -> None:
        self._octets = bytearray()
        self._present = bytearray()

    def add(self, offset: int, piece: bytes) -> None:
        """Keep `piece`, which belongs at `offset`.

        Raises:
            MalformedQuic: it lies beyond what a hello may have.
        """
        end = offset + len(piece)
        if end > MAX_CRYPTO_OCTETS:
            raise MalformedQuic(offset, f"CRYPTO data up to octet {end}")
        if end > len(self._octets):
            missing = bytes(end - len(self._octets))
            self._octets += missing
            self._present += missing
        if self._present.find(1, offset, end) >= 0:
            piece = bytes(
                old if is_there else new
                for old, is_there, new in zip(self._octets[offset:end], self._present[offset:end], piece, strict=True)
            )
        self._octets[offset:end] = piece
        self._present[offset:end] = b"\x01" * len(piece)

    @property
    def held_octets(self) -> int:
        """Return how much memory the octets take, with the note of which are there."""
        return len(self._octets) + len(self._present)

    def prefix(self) -> bytes:
        """Return the octets that are there without a gap."""
        gap = self._present.find(0)
        return bytes(self._octets if gap < 0 else self._octets[:gap])


class QuicInitialReader:
    """The Initials of one flow's initiator, put together: feed it the datagrams in any order.

    It holds one set of keys and at most 16 KiB of CRYPTO data. A client that was sent a Retry starts again with new
    keys; one that was answered goes on with the old keys under another connection ID. What does not decrypt with a
    client's keys (a server's Initial, a forgery) changes nothing.
    """

    __slots__ = ("_crypto", "_dcid", "_keys")

    def __init__(self) -> None:
        self._dcid: bytes | None = None
        self._keys: _Keys | None = None
        self._crypto = _CryptoStream()

    @property
    def held_octets(self) -> int:
        """Return about how much memory the reader takes."""
        return _READER_OCTETS + self._crypto.held_octets

    def feed(self, datagram: bytes) -> ClientHello:
        """Return the ClientHello once enough of it has come; its JA4 starts with `q`.

        Raises:
            NeedMoreData: this datagram does not complete it, or has nothing to do with it.
            MalformedQuic: a header, frame or hello that cannot be.
        """
        for packet in _packets(datagram):
            if packet.is_initial:
                self._read(datagram, packet)
        return self._hello(is_final=False)

    def read_partial(self) -> ClientHello:
        """Return the hello as far as it came, for a flow that has ended; an incomplete one has no JA4.

        Raises:
            NeedMoreData: not even the server name is complete.
            MalformedQuic: a hello that cannot be.
        """
        return self._hello(is_final=True)

    def _hello(self, *, is_final: bool) -> ClientHello:
        message = self._crypto.prefix()
        if not message:
            raise NeedMoreData
        try:
            return parse_client_hello(message, "q", is_final=is_final)
        except MalformedTls as error:
            raise MalformedQuic(error.offset, error.reason) from None

    def _read(self, datagram: bytes, packet: _Packet) -> None:
        payload = self._decrypt(datagram, packet)
        if payload is not None:
            for offset, piece in _crypto_frames(payload):
                self._crypto.add(offset, piece)

    def _decrypt(self, datagram: bytes, packet: _Packet) -> bytes | None:
        if self._keys is not None:
            try:
                return self._keys.decrypt(datagram, packet)
            except InvalidTag:
                if packet.dcid == self._dcid:
                    return None
        keys = _Keys(packet.version, packet.dcid)
        try:
            payload = keys.decrypt(datagram, packet)
        except InvalidTag:
            return None
        self._dcid, self._keys, self._crypto = packet.dcid, keys, _CryptoStream()
        return payload


def is_quic_initial(datagram: bytes) -> bool:
    """Tell whether a datagram looks like a client's Initial of a known version; nothing is decrypted.

    0-RTT may stand before it in the same datagram (RFC 9000 section 12.2).
    """
    return len(datagram) >= MIN_INITIAL_DATAGRAM and is_long_initial(datagram)


def is_long_initial(datagram: bytes) -> bool:
    """As `is_quic_initial`, whatever its length: behind the first Initial, servers take short datagrams too."""
    if len(datagram) < _HEADER_OCTETS or datagram[0] & (_IS_LONG | _IS_FIXED) != _IS_LONG | _IS_FIXED:
        return False
    version = _VERSIONS.get(int.from_bytes(datagram[1:5], "big"))
    if version is None or datagram[5] > _MAX_CONNECTION_ID:
        return False
    if datagram[0] & 0x30 not in (version.initial, version.initial + _ZERO_RTT):
        return False
    return datagram[6 + datagram[5]] <= _MAX_CONNECTION_ID


def _packets(datagram: bytes) -> list[_Packet]:
    """Return the long-header packets of known versions that are coalesced in `datagram` (RFC 9000 section 12.2).

    They all have one connection ID: receivers ignore what follows with another. Valid senders need no more than a few,
    and each may cost the making of keys.

    Raises:
        MalformedQuic: the first header cannot be; behind a good packet, rubbish is ignored.
    """
    packets: list[_Packet] = []
    at = 0
    while len(packets) < _MAX_COALESCED and at + 7 <= len(datagram) and datagram[at] & _IS_LONG:
        try:
            packet = _read_header(datagram, at)
        except MalformedQuic:
            if packets:
                break
            raise
        if packet is None or (packets and packet.dcid != packets[0].dcid):
            break
        packets.append(packet)
        at = packet.end
    return packets


def _read_header(datagram: bytes, start: int) -> _Packet | None:
    """Return the packet at `start` (RFC 9000 section 17.2), None if it is a Retry or of an unknown version."""
    version = _VERSIONS.get(int.from_bytes(datagram[start + 1 : start + 5], "big"))
    kind = datagram[start] & 0x30
    if version is None or kind == version.retry:
        return None
    dcid, at = _connection_id(datagram, start + 5)
    _, at = _connection_id(datagram, at)
    if kind == version.initial:
        token_octets, at = _integer(datagram, at)
        at += token_octets
    length, at = _integer(datagram, at)
    end = at + length
    if end > len(datagram) or length < _SAMPLE_OFFSET + _SAMPLE_OCTETS:
        raise MalformedQuic(at, f"a packet of {length} octets")
    return _Packet(version, kind == version.initial, start, at, end, dcid)


def _connection_id(datagram: bytes, at: int) -> tuple[bytes, int]:
    if at >= len(datagram) or datagram[at] > _MAX_CONNECTION_ID:
        raise MalformedQuic(at, "connection ID")
    end = at + 1 + datagram[at]
    return datagram[at + 1 : end], end


def _integer(octets: bytes, at: int) -> tuple[int, int]:
    """Return the variable-length integer at `at` and the offset behind it (RFC 9000 section 16)."""
    if at >= len(octets):
        raise MalformedQuic(at, "an integer is cut off")
    end = at + (1 << (octets[at] >> 6))
    if end > len(octets):
        raise MalformedQuic(at, "an integer is cut off")
    return int.from_bytes(octets[at:end], "big") & (1 << ((end - at) * 8 - 2)) - 1, end


def _crypto_frames(payload: bytes) -> list[tuple[int, bytes]]:
    """Return offset and data of each CRYPTO frame in an Initial's payload (RFC 9000 section 19)."""
    frames = []
    at = 0
    while at < len(payload):
        kind = payload[at]
        at += 1
        if kind == _PADDING:
            at = len(payload) - len(payload[at:].lstrip(b"\0"))
        elif kind == _CRYPTO:
            offset, at = _integer(payload, at)
            length, at = _integer(payload, at)
            if at + length > len(payload):
                raise MalformedQuic(at, "a CRYPTO frame runs out of its packet")
            frames.append((offset, payload[at : at + length]))
            at += length
        elif kind in {_ACK, _ACK_ECN}:
            at = _ack_end(payload, at, has_ecn=kind == _ACK_ECN)
        elif kind == _CONNECTION_CLOSE:
            break
        elif kind != _PING:
            raise MalformedQuic(at - 1, f"frame type {kind} in an Initial")
    return frames


def _ack_end(payload: bytes, at: int, *, has_ecn: bool) -> int:
    """Return the offset behind an ACK frame's fields (RFC 9000 section 19.3)."""
    for _ in range(2):
        _, at = _integer(payload, at)
    ranges, at = _integer(payload, at)
    for _ in range(1 + 2 * ranges + 3 * has_ecn):
        _, at = _integer(payload, at)
    return at
