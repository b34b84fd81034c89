"""Opaque page cursors: where the next page begins, signed together with the query they were given for.

A cursor is `payload.signature`, both base64url. The signature covers the resource, the filter as it was asked and the
payload, so a cursor works for the query that gave it and for no other.
"""

import base64
import binascii
import hashlib
import hmac
from dataclasses import dataclass

import msgspec

from api.problems import Kind, Problem
from db.access.values import AuditFilter
from db.values import EventFilter, FindingFilter

SIGNATURE_OCTETS = 16
MAX_CURSOR_LENGTH = 512


class Position(msgspec.Struct, frozen=True, array_like=True):
    """The last row of a page (its time and id), and the time window that the first page was given."""

    at_ns: int
    row_id: str
    from_ns: int | None
    to_ns: int | None


@dataclass(frozen=True, slots=True)
class CursorSigner:
    """Makes and checks the cursors of one resource."""

    secret: bytes
    resource: str

    def encode(self, position: Position, asked: EventFilter | FindingFilter | AuditFilter) -> str:
        """Return the cursor for the page below `position` of the query `asked`."""
        payload = msgspec.json.encode(position)
        return f"{_to_text(payload)}.{_to_text(self._sign(payload, asked))}"

    def decode(self, cursor: str, asked: EventFilter | FindingFilter | AuditFilter) -> Position:
        """Return where the page begins.

        Raises:
            Problem: the cursor was altered, or given for another query or by another installation.
        """
        payload_text, _, signature_text = cursor.partition(".")
        try:
            payload, signature = _to_bytes(payload_text), _to_bytes(signature_text)
        except (binascii.Error, ValueError):
            raise _refusal() from None
        if not hmac.compare_digest(signature, self._sign(payload, asked)):
            raise _refusal()
        return msgspec.json.decode(payload, type=Position)

    def _sign(self, payload: bytes, asked: EventFilter | FindingFilter | AuditFilter) -> bytes:
        parts = (self.resource.encode(), msgspec.json.encode(asked), payload)
        message = b"".join(len(part).to_bytes(4) + part for part in parts)
        return hmac.digest(self.secret, message, hashlib.sha256)[:SIGNATURE_OCTETS]


def _refusal() -> Problem:
    detail = "Repeat the query that gave the cursor, with the same filters; or leave the cursor out to begin again."
    return Problem(Kind.INVALID_CURSOR, detail)


def _to_text(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode("ascii")


def _to_bytes(text: str) -> bytes:
    return base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
