"""The account for first use and emergencies: a password of our own making, argon2, few tries, every use alarmed."""

import secrets
from collections.abc import Iterable

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from db.access.values import Account

ISSUER = "break-glass"
PASSWORD_OCTETS = 18
TRIES = "5/minute"  # of one address
AT_ONCE = 2  # each try takes 64 MiB
_HASHER = PasswordHasher()
_NOBODY = _HASHER.hash(secrets.token_urlsafe(PASSWORD_OCTETS))


def new_password() -> str:
    """Return a password that nobody can guess."""
    return secrets.token_urlsafe(PASSWORD_OCTETS)


def hash_of(password: str) -> str:
    """Return what is stored of a password."""
    return _HASHER.hash(password)


def is_possible(accounts: Iterable[Account], *, is_loopback: bool) -> bool:
    """Tell whether a password can open any account from there. Where it cannot, nothing is worked out."""
    return is_loopback or any(not account.is_for_loopback_only for account in accounts)


def is_good(account: Account | None, password: str, *, is_loopback: bool) -> bool:
    """Tell whether a password opens an account from there; whatever is wrong, the same work is done."""
    try:
        _HASHER.verify(account.password_hash if account else _NOBODY, password)
    except (VerificationError, InvalidHashError):
        return False
    return account is not None and (is_loopback or not account.is_for_loopback_only)
