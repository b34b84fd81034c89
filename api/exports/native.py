"""Events as our own documents, one JSON object a line (NDJSON)."""

import msgspec

from rules.values.event import Event, to_document


def write(event: Event, _version: str) -> bytes:
    """Return the event as `/v1/events` answers it."""
    return msgspec.json.encode(to_document(event)) + b"\n"
