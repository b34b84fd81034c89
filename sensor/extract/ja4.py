"""JA4, the TLS client fingerprint (FoxIO, "JA4: TLS Client Fingerprinting", BSD 3-Clause)."""

import hashlib
import struct
from collections.abc import Sequence
from enum import IntEnum
from functools import lru_cache
from typing import Final

_NO_HASH: Final = "000000000000"
_HASH_DIGITS: Final = 12
_MOST_COUNTED: Final = 99

GREASE: Final = frozenset(0x0A0A + 0x1010 * step for step in range(16))  # RFC 8701 section 2
_GREASE_HEX: Final = frozenset(f"{value:04x}" for value in GREASE)

_VERSIONS: Final = {
    0x0002: "s2",
    0x0300: "s3",
    0x0301: "10",
    0x0302: "11",
    0x0303: "12",
    0x0304: "13",
    0xFEFF: "d1",
    0xFEFD: "d2",
    0xFEFC: "d3",
}


class ExtensionType(IntEnum):
    """TLS extensions read here (IANA registry "TLS ExtensionType Values")."""

    SERVER_NAME = 0
    SIGNATURE_ALGORITHMS = 13
    ALPN = 16
    SUPPORTED_VERSIONS = 43
    ENCRYPTED_CLIENT_HELLO = 0xFE0D


# As plain integers: comparing enumeration members costs a multiple in the loops below.
_SERVER_NAME: Final = int(ExtensionType.SERVER_NAME)
_NOT_HASHED: Final = frozenset({_SERVER_NAME, int(ExtensionType.ALPN)})


def ja4(
    *,
    transport: str,
    version: int,
    ciphers: bytes,
    extensions: Sequence[int],
    signature_algorithms: bytes,
    alpn: bytes | None,
) -> str:
    """Return the fingerprint, such as `t13d1516h2_8daaf6152771_e5627efa2ab1`.

    Args:
        transport: `t` for TLS over TCP, `q` for QUIC.
        version: the highest version offered, GREASE aside.
        ciphers: the cipher suites as on the wire, two octets each.
        extensions: the extension types in wire order.
        signature_algorithms: the list as on the wire, two octets each.
        alpn: the first protocol name offered, None without the extension.
    """
    suites, suites_hash = _suites(ciphers)
    known = [kind for kind in extensions if kind not in GREASE]
    sni = "d" if _SERVER_NAME in known else "i"
    hashed = tuple(sorted([kind for kind in known if kind not in _NOT_HASHED]))
    counts = f"{min(suites, _MOST_COUNTED):02d}{min(len(known), _MOST_COUNTED):02d}"
    head = f"{transport}{_VERSIONS.get(version, '00')}{sni}{counts}{_ends(alpn)}"
    return f"{head}_{suites_hash}_{_extensions_hash(hashed, signature_algorithms)}"


# Programs offer the same again and again: a known list costs a look-up in place of a digest.
@lru_cache(maxsize=1024)
def _suites(ciphers: bytes) -> tuple[int, str]:
    """Return how many suites are offered, and their hash."""
    suites = _values(ciphers)
    return len(suites), _hash(",".join(sorted(suites)))


@lru_cache(maxsize=1024)
def _extensions_hash(kinds: tuple[int, ...], signature_algorithms: bytes) -> str:
    """Return the hash of the sorted extension types and the algorithms as they stand."""
    algorithms = _values(signature_algorithms)
    listed = struct.pack(f">{len(kinds)}H", *kinds).hex(",", 2)
    return _hash(listed + ("_" + ",".join(algorithms) if algorithms else ""))


def _values(wire: bytes) -> list[str]:
    """Return 16-bit values as four hexadecimal digits each, without GREASE."""
    if not wire:
        return []
    return [value for value in wire.hex(",", 2).split(",") if value not in _GREASE_HEX]


def _ends(alpn: bytes | None) -> str:
    """Return first and last character of the protocol name, of its hexadecimal form unless both are alphanumeric."""
    if not alpn:
        return "00"
    first, last = alpn[:1], alpn[-1:]
    if first.isalnum() and last.isalnum():
        return (first + last).decode("ascii")
    return alpn.hex()[0] + alpn.hex()[-1]


def _hash(text: str) -> str:
    if not text:
        return _NO_HASH
    return hashlib.sha256(text.encode("ascii")).hexdigest()[:_HASH_DIGITS]
