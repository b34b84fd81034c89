"""The text of a token, `mc_<id>_<secret>`: 48 bits that name it and 256 random bits that prove it.

So much entropy needs no slow hash: SHA-256 of the secret is kept, and a guess costs 2**255 tries.
"""

import hashlib
import re
import secrets
from dataclasses import dataclass

ID_OCTETS = 6
SECRET_OCTETS = 32
TOKEN = re.compile(r"mc_([0-9a-f]{12})_([0-9a-f]{64})")
SECRET = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Presented:
    """What somebody says to be: the token's id and the digest of the secret given with it."""

    token_id: str
    digest: bytes


def new_id() -> str:
    """Return a token id that nobody has."""
    return secrets.token_hex(ID_OCTETS)


def new_secret() -> str:
    """Return a secret that nobody can guess."""
    return secrets.token_hex(SECRET_OCTETS)


def digest_of(secret: str) -> bytes:
    """Return what is stored of a secret."""
    return hashlib.sha256(secret.encode()).digest()


def written(token_id: str, secret: str) -> str:
    """Return the token as its holder writes it."""
    return f"mc_{token_id}_{secret}"


def parse(text: str) -> Presented | None:
    """Return what a token says, None when it is none; any text costs one hash."""
    found = TOKEN.fullmatch(text)
    digest = digest_of(found[2] if found else text[: 2 * SECRET_OCTETS])
    return Presented(found[1], digest) if found else None
