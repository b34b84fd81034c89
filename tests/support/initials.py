"""Client Initials by an encryptor of its own: the reader is not checked against itself (RFC 9001, RFC 9369)."""

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

V1 = 0x00000001
V2 = 0x6B3343CF
SALTS = {V1: "38762cf7f55934b34d179ae6a4c80cadccbb7f0a", V2: "0dede3def700a6db819381be6e269dcbf9bd2ed9"}
PREFIXES = {V1: "quic", V2: "quicv2"}
INITIAL_TYPES = {V1: 0xC0, V2: 0xD0}


def expand_label(secret: bytes, label: str, length: int) -> bytes:
    text = b"tls13 " + label.encode()
    described = length.to_bytes(2, "big") + bytes([len(text)]) + text + b"\0"
    return HKDFExpand(algorithm=SHA256(), length=length, info=described).derive(secret)


def initial_keys(dcid: bytes, version: int = V1, side: str = "client in") -> tuple[bytes, bytes, bytes]:
    """Key, IV and header protection key."""
    extract = HMAC(bytes.fromhex(SALTS[version]), SHA256())
    extract.update(dcid)
    secret = expand_label(extract.finalize(), side, 32)
    prefix = PREFIXES[version]
    return tuple(expand_label(secret, f"{prefix} {name}", size) for name, size in (("key", 16), ("iv", 12), ("hp", 16)))  # type: ignore[return-value]


def varint(value: int) -> bytes:
    for size, limit in ((1, 6), (2, 14), (4, 30)):
        if value < 1 << limit:
            return (value | (size.bit_length() - 1) << (size * 8 - 2)).to_bytes(size, "big")
    return (value | 3 << 62).to_bytes(8, "big")


def crypto(offset: int, piece: bytes) -> bytes:
    """A CRYPTO frame."""
    return b"\x06" + varint(offset) + varint(len(piece)) + piece


def initial(
    frames: bytes,
    *,
    dcid: bytes = b"original",
    keyed_by: bytes | None = None,
    version: int = V1,
    number: int = 0,
    token: bytes = b"",
    side: str = "client in",
    number_octets: int = 4,
    length: int = 1200,
) -> bytes:
    """A datagram of `length` octets with one Initial, padded inside."""
    key, iv, hp = initial_keys(keyed_by if keyed_by is not None else dcid, version, side)
    first = INITIAL_TYPES[version] | (number_octets - 1)
    start = bytes([first]) + version.to_bytes(4, "big") + bytes([len(dcid)]) + dcid + b"\0" + varint(len(token)) + token
    payload_octets = max(length - len(start) - 2 - number_octets - 16, len(frames), 4)
    body_octets = number_octets + payload_octets + 16
    header = start + (body_octets | 0x4000).to_bytes(2, "big") + number.to_bytes(number_octets, "big")
    nonce = bytes(a ^ b for a, b in zip(iv, number.to_bytes(12, "big"), strict=True))
    sealed = AESGCM(key).encrypt(nonce, frames.ljust(payload_octets, b"\0"), header)
    sample = sealed[4 - number_octets : 20 - number_octets]
    mask = Cipher(AES(hp), ECB()).encryptor().update(sample)  # noqa: S305 - RFC 9001 section 5.4.3
    at = len(header) - number_octets
    hidden = bytes(a ^ b for a, b in zip(header[at:], mask[1:], strict=False))
    return bytes([header[0] ^ mask[0] & 0x0F]) + header[1:at] + hidden + sealed
