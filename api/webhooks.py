"""Signed webhooks (Standard Webhooks 1.0): `v1,` and base64 of HMAC-SHA256 over `id.timestamp.body`.

Secrets are `whsec_` and base64 of 24 to 64 octets. While a secret is being rotated both sign, and either verifies.
"""

import base64
import binascii
import hmac
import secrets
from collections.abc import Mapping, Sequence

PREFIX = "whsec_"
SECRET_OCTETS = 32
TOLERANCE_S = 300
MAX_SIGNATURES = 16


def new_secret() -> str:
    """Return a new secret."""
    return PREFIX + base64.b64encode(secrets.token_bytes(SECRET_OCTETS)).decode()


def signed_headers(keys: Sequence[str], message_id: str, timestamp_s: int, body: bytes) -> dict[str, str]:
    """Return the headers of a webhook, signed with each of `keys`."""
    signatures = (f"v1,{_sign(key, message_id, str(timestamp_s), body)}" for key in keys)
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp_s),
        "webhook-signature": " ".join(signatures),
    }


def is_authentic(keys: Sequence[str], headers: Mapping[str, str], body: bytes, now_s: int) -> bool:
    """Tell whether one of `keys` signed this webhook within five minutes of now."""
    message_id, timestamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not message_id or not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= len(str(now_s)) + 1):
        return False
    offered = [text for text in headers.get("webhook-signature", "").split(" ")[:MAX_SIGNATURES] if text[:3] == "v1,"]
    expected = [_sign(key, message_id, timestamp, body) for key in keys]
    matches = [hmac.compare_digest(text[3:].encode(), wanted.encode()) for text in offered for wanted in expected]
    return any(matches) and abs(int(timestamp) - now_s) <= TOLERANCE_S


def _sign(key: str, message_id: str, timestamp: str, body: bytes) -> str:
    message = f"{message_id}.{timestamp}.".encode() + body
    try:
        octets = base64.b64decode(key.removeprefix(PREFIX), validate=True)
    except binascii.Error:
        octets = key.encode()
    return base64.b64encode(hmac.digest(octets, message, "sha256")).decode()
