"""TLS ClientHello: from the records at the head of a TCP stream, or bare as QUIC carries it.

RFC 8446, RFC 6066 (server name), RFC 7301 (ALPN), RFC 9849 (ECH).

A hello of 1.7 kB costs about 20 us, a third of it the fingerprint (`bench/extract.py`).
"""

from functools import lru_cache
from typing import Final

from rules.values.observation import ClientHello
from sensor.errors import MalformedTls, NeedMoreData
from sensor.extract.ja4 import GREASE, ExtensionType, ja4
from sensor.extract.text import escape, fold_host

MAX_HELLO_OCTETS: Final = 65536
MAX_PROTOCOL_NAMES: Final = 16  # kept of a longer ALPN list: browsers offer 2, no tunnel more than 3
MAX_PROTOCOL_OCTETS: Final = 64

ALERT_RECORD: Final = 21
HANDSHAKE_RECORD: Final = 22
CLIENT_HELLO: Final = 1
_HIGHEST_MAJOR: Final = 15  # crypto/tls of Go takes as much in a first record, OpenSSL 3 and any minor version
_WARNING: Final = 1  # RFC 5246 section 7.2
_CLOSE_NOTIFY: Final = 0
_MAX_FRAGMENT: Final = 16384
RECORD_HEADER: Final = 5
_HANDSHAKE_HEADER: Final = 4
_RANDOM_OCTETS: Final = 32
_HOST_NAME: Final = 0
_EXTENSION_HEAD_OCTETS: Final = 4
# As plain integers: comparing enumeration members costs a multiple.
_SERVER_NAME: Final = int(ExtensionType.SERVER_NAME)
_ALPN: Final = int(ExtensionType.ALPN)
_SUPPORTED_VERSIONS: Final = int(ExtensionType.SUPPORTED_VERSIONS)
_SIGNATURE_ALGORITHMS: Final = int(ExtensionType.SIGNATURE_ALGORITHMS)
_ENCRYPTED_CLIENT_HELLO: Final = int(ExtensionType.ENCRYPTED_CLIENT_HELLO)
_EXTENSIONS_READ: Final = frozenset(map(int, ExtensionType))


_known_ja4 = lru_cache(maxsize=256)(ja4)


class _Offer:
    """What has been read of a hello so far."""

    __slots__ = (
        "alpn",
        "ciphers",
        "extensions",
        "has_ech",
        "legacy_version",
        "signature_algorithms",
        "sni",
        "versions",
    )

    def __init__(self) -> None:
        self.legacy_version = 0
        self.ciphers = b""
        self.extensions: list[int] = []
        self.sni: bytes | None = None
        self.alpn: tuple[bytes, ...] = ()
        self.versions: tuple[int, ...] = ()
        self.signature_algorithms = b""
        self.has_ech = False


def read_client_hello(stream: bytes, is_final: bool = False) -> ClientHello:
    """Return the ClientHello that `stream`, the head of a TCP direction, begins with, over however many records.

    Args:
        stream: payload octets in order.
        is_final: nothing more will come. A hello that is cut off behind its server name is returned as far as it goes,
            with an empty `ja4`.

    Raises:
        NeedMoreData: valid so far, but not complete.
        MalformedTls: not a ClientHello.
    """
    return parse_client_hello(_gather(stream), is_final=is_final)


def parse_client_hello(message: bytes, transport: str = "t", *, is_final: bool = False) -> ClientHello:
    """Return the ClientHello of a bare handshake message with its four-octet header; octets behind it are ignored.

    Args:
        message: the message, or its beginning.
        transport: the first letter of the JA4, `t` for TCP or `q` for QUIC.
        is_final: as for `read_client_hello`.

    Raises:
        NeedMoreData: valid so far, but not complete.
        MalformedTls: not a ClientHello.
    """
    end = _message_end(message)
    if end is None or (len(message) < end and not is_final):
        raise NeedMoreData
    offer = _Offer()
    try:
        _read_offer(offer, message, end)
    except NeedMoreData:
        if offer.sni is None:
            raise
        return _as_hello(offer, offer.versions, "")
    versions = offer.versions or (offer.legacy_version,)
    return _as_hello(offer, versions, _fingerprint(offer, versions, transport))


def _gather(stream: bytes) -> bytes:
    """Return the first handshake message as far as `stream` holds it (RFC 8446 section 5.1).

    Warnings between its records are passed over, as crypto/tls of Go does, and empty records, as OpenSSL does.
    """
    message = b""
    at = 0
    while at < len(stream):
        length = _record_length(stream, at)
        if length is None:
            break
        start, at = at, at + RECORD_HEADER + length
        if stream[start] == ALERT_RECORD:
            _check_warning(stream[start:at], start)
            continue
        message += stream[start + RECORD_HEADER : at]
        end = _message_end(message)
        if end is not None and len(message) >= end:
            break
    return message


def _record_length(stream: bytes, at: int) -> int | None:
    """Return the length of the handshake or alert record at `at`, None while its header is incomplete."""
    header = stream[at : at + RECORD_HEADER]
    if header[0] not in (HANDSHAKE_RECORD, ALERT_RECORD):
        raise MalformedTls(at, f"record type {header[0]} where a handshake belongs")
    if len(header) > 1 and header[1] > _HIGHEST_MAJOR:
        raise MalformedTls(at + 1, "record version")
    if len(header) < RECORD_HEADER:
        return None
    length = header[3] << 8 | header[4]
    if length > _MAX_FRAGMENT:
        raise MalformedTls(at + 3, f"record length {length}")
    return length


def _check_warning(record: bytes, at: int) -> None:
    """Check that an alert, or its beginning, is one that servers pass over."""
    alert = record[RECORD_HEADER:]
    if record[3:5] != b"\0\x02" or alert[:1] not in (b"", bytes((_WARNING,))) or alert[1:] == bytes((_CLOSE_NOTIFY,)):
        raise MalformedTls(at, "an alert that ends the connection")


def _message_end(message: bytes) -> int | None:
    """Return how many octets the message has with its header, None while that is unknown."""
    if message and message[0] != CLIENT_HELLO:
        raise MalformedTls(0, f"handshake type {message[0]} where a ClientHello belongs")
    if len(message) < _HANDSHAKE_HEADER:
        return None
    end = _HANDSHAKE_HEADER + (message[1] << 16 | message[2] << 8 | message[3])
    if end > MAX_HELLO_OCTETS:
        raise MalformedTls(1, f"a ClientHello of {end} octets")
    return end


def _read_offer(offer: _Offer, message: bytes, end: int) -> None:
    """Fill `offer` from the message (RFC 8446 section 4.1.2); NeedMoreData leaves in it what came before the cut."""
    at = _HANDSHAKE_HEADER
    offer.legacy_version = int.from_bytes(message[at : at + 2], "big")
    _, at = _vector(message, at + 2 + _RANDOM_OCTETS, 1, end)
    start, at = _vector(message, at, 2, end)
    offer.ciphers = message[start:at]
    if not offer.ciphers or len(offer.ciphers) % 2:
        raise MalformedTls(start, "cipher suites")
    _, at = _vector(message, at, 1, end)
    if at == end:
        return
    at, stop = _bounds(message, at, 2, end)
    if stop != end:
        raise MalformedTls(at, "the extensions do not end with the message")
    available = len(message)
    while at < end:
        start = at + _EXTENSION_HEAD_OCTETS
        if start > end:
            raise MalformedTls(at, "an extension runs over its enclosure")
        if start > available:
            raise NeedMoreData
        kind = message[at] << 8 | message[at + 1]
        at = start + (message[at + 2] << 8 | message[at + 3])
        if at > end:
            raise MalformedTls(start, "an extension runs over its enclosure")
        if at > available:
            raise NeedMoreData
        offer.extensions.append(kind)
        if kind in _EXTENSIONS_READ:
            _read_extension(offer, kind, message[start:at])


def _read_extension(offer: _Offer, kind: int, body: bytes) -> None:
    if kind == _SERVER_NAME:
        offer.sni = offer.sni if offer.sni is not None else _read_host_name(body)
    elif kind == _ALPN:
        offer.alpn = offer.alpn or _read_protocol_names(body)
    elif kind == _SUPPORTED_VERSIONS:
        start, stop = _whole(body, 1)
        values = (body[at] << 8 | body[at + 1] for at in range(start, stop - 1, 2))
        offer.versions = tuple(value for value in values if value not in GREASE)
    elif kind == _SIGNATURE_ALGORITHMS:
        start, stop = _whole(body, 2)
        offer.signature_algorithms = body[start : stop - (stop - start) % 2]
    elif kind == _ENCRYPTED_CLIENT_HELLO:
        offer.has_ech = True


def _read_host_name(body: bytes) -> bytes | None:
    """Return the first name of type host_name (RFC 6066 section 3)."""
    at, stop = _whole(body, 2)
    while at < stop:
        start, end = _vector(body, at + 1, 2, stop)
        if body[at] == _HOST_NAME:
            return body[start:end]
        at = end
    return None


# Programs offer the same again and again, here and below.
@lru_cache(maxsize=256)
def _read_protocol_names(body: bytes) -> tuple[bytes, ...]:
    """Return the protocol names offered (RFC 7301 section 3.1)."""
    at, stop = _whole(body, 2)
    names = []
    while at < stop:
        start, at = _vector(body, at, 1, stop)
        names.append(body[start:at])
    return tuple(names)


@lru_cache(maxsize=256)
def _as_text(names: tuple[bytes, ...]) -> tuple[str, ...]:
    return tuple([escape(name[:MAX_PROTOCOL_OCTETS]) for name in names[:MAX_PROTOCOL_NAMES]])


def _bounds(message: bytes, at: int, size: int, end: int) -> tuple[int, int]:
    """Return where the content of the vector at `at` starts and stops; its length field has `size` octets, one or two.

    Raises:
        NeedMoreData: the length field is not there yet.
        MalformedTls: the vector does not fit into its enclosure, which stops at `end`.
    """
    start = at + size
    if start > end:
        raise MalformedTls(at, "a vector runs over its enclosure")
    if start > len(message):
        raise NeedMoreData
    stop = start + (message[at] if size == 1 else message[at] << 8 | message[at + 1])
    if stop > end:
        raise MalformedTls(at, "a vector runs over its enclosure")
    return start, stop


def _vector(message: bytes, at: int, size: int, end: int) -> tuple[int, int]:
    """As `_bounds`, for a vector that must be there to its last octet."""
    start, stop = _bounds(message, at, size, end)
    if stop > len(message):
        raise NeedMoreData
    return start, stop


def _whole(body: bytes, size: int) -> tuple[int, int]:
    """As `_bounds`, for a vector that fills the extension."""
    start, stop = _bounds(body, 0, size, len(body))
    if stop != len(body):
        raise MalformedTls(stop, "octets behind the list of an extension")
    return start, stop


def _as_hello(offer: _Offer, versions: tuple[int, ...], fingerprint: str) -> ClientHello:
    return ClientHello(
        sni=fold_host(offer.sni) if offer.sni else None,
        alpn=_as_text(offer.alpn),
        versions=versions,
        ja4=fingerprint,
        has_ech=offer.has_ech,
    )


def _fingerprint(offer: _Offer, versions: tuple[int, ...], transport: str) -> str:
    return _known_ja4(
        transport=transport,
        version=max(versions),
        ciphers=offer.ciphers,
        extensions=tuple(offer.extensions),
        signature_algorithms=offer.signature_algorithms,
        alpn=offer.alpn[0] if offer.alpn else None,
    )
