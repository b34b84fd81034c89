"""Secrets that must be used again, such as those that sign webhooks: encrypted with a key outside the database."""

import base64
from collections.abc import Sequence

import msgspec
from cryptography.fernet import Fernet, InvalidToken

from api.errors import SealBroken


class Seal:
    """Seals and opens lists of secrets."""

    def __init__(self, key: bytes) -> None:
        """Use 32 octets that are kept apart from the database."""
        self._fernet = Fernet(base64.urlsafe_b64encode(key))

    def close(self, secrets: Sequence[str]) -> bytes:
        """Return `secrets` sealed."""
        return self._fernet.encrypt(msgspec.json.encode(list(secrets)))

    def open(self, sealed: bytes) -> list[str]:
        """Return the secrets.

        Raises:
            SealBroken: they were sealed with another key.
        """
        try:
            return msgspec.json.decode(self._fernet.decrypt(sealed), type=list[str])
        except InvalidToken:
            raise SealBroken("The key of the secrets was replaced (output_key): make the output again.") from None
