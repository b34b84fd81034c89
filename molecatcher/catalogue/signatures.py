"""Signatures of catalogue bundles: Ed25519 (RFC 8032), in base64.

Keys are PEM files as openssl makes them; docs/catalogue.md has the commands.
"""

import base64
import binascii
import re
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from molecatcher.errors import CatalogueError

_PUBLIC_KEY = re.compile(rb"-----BEGIN PUBLIC KEY-----.*?-----END PUBLIC KEY-----", re.DOTALL)


def sign(octets: bytes, key_file: Path) -> bytes:
    """Return the signature of `octets` as it stands in a file.

    Raises:
        CatalogueError: the private key cannot be used.
    """
    try:
        key = load_pem_private_key(_read(key_file), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise CatalogueError(
            f"{key_file} cannot be used ({error}): give an Ed25519 private key without password"
        ) from None
    if not isinstance(key, Ed25519PrivateKey):
        raise CatalogueError(f"{key_file} is no Ed25519 key: make one with `openssl genpkey -algorithm ed25519`")
    return base64.b64encode(key.sign(octets)) + b"\n"


def verify(octets: bytes, signature: bytes, key_file: Path, what: str) -> None:
    """Return if one of the public keys in `key_file` made `signature` of `octets`.

    Raises:
        CatalogueError: none did, or there is no key.
    """
    try:
        raw = base64.b64decode(signature.strip(), validate=True)
    except (binascii.Error, ValueError):
        raise CatalogueError(f"the signature of {what} is not base64: it is another file, or was changed") from None
    for key in _public_keys(key_file):
        try:
            key.verify(raw, octets)
        except InvalidSignature:
            continue
        return
    raise CatalogueError(f"{what} is not signed by a key in {key_file}: it was changed, or somebody else made it")


def _public_keys(path: Path) -> list[Ed25519PublicKey]:
    found: list[Ed25519PublicKey] = []
    for pem in _PUBLIC_KEY.findall(_read(path)):
        try:
            key = load_pem_public_key(pem)
        except (ValueError, UnsupportedAlgorithm) as error:
            raise CatalogueError(f"{path} holds a key that cannot be read: {error}") from None
        if not isinstance(key, Ed25519PublicKey):
            raise CatalogueError(f"{path} holds a key that is not Ed25519: leave it out")
        found.append(key)
    if not found:
        raise CatalogueError(f"{path} holds no public key: write one with `openssl pkey -in PRIVATE -pubout`")
    return found


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CatalogueError(f"{path} cannot be read: {error.strerror}") from None
