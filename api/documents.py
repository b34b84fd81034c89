"""Values of the store and of the policy as JSON documents: times become RFC 3339 text without their `_ns`."""

from dataclasses import asdict

import msgspec
from starlette.responses import Response

from api.context import PolicyStatus
from rules.values.event import rfc3339


def document(value: msgspec.Struct) -> dict[str, object]:
    """Return a flat struct as a document; `None` stays `None`."""
    members: dict[str, object] = {}
    for name, member in msgspec.to_builtins(value).items():
        if name.endswith("_ns"):
            members[name.removesuffix("_ns")] = None if member is None else rfc3339(member)
        else:
            members[name] = member
    return members


def policy_document(status: PolicyStatus, digest: str | None) -> dict[str, object]:
    """Return the policy in force as a document; `digest` is that of what it says."""
    return {
        "path": status.path,
        "loaded_at": rfc3339(status.loaded_at_ns),
        "digest": digest,
        "sanctioned": [asdict(row) for row in status.sanctioned],
        "error": status.error,
        "warnings": status.warnings,
    }


def json_response(body: object, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Return `body` as JSON that no cache keeps."""
    return Response(
        msgspec.json.encode(body), status, {"Cache-Control": "no-store"} | (headers or {}), "application/json"
    )
