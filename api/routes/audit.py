"""The audit log: who changed what, and who looked at evidence."""

from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated

import msgspec
from fastapi import APIRouter, Query
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from api.access.audit import audit
from api.context import ApiContext
from api.dependencies import Context
from api.documents import document
from api.exports.ocsf_audit import ocsf_audit
from api.openapi import problems
from api.requests.paging import RowPage, page_of
from api.requests.parameters import Paging, Text, WindowQuery
from api.schemas.access import AuditPage
from api.serving.streaming import is_headers_only
from db.access.values import AuditEntry, AuditFilter, AuditOutcome

NDJSON = "application/x-ndjson"
EXPORT_PAGE = 500

router = APIRouter(tags=["access"])


class AuditFormat(StrEnum):
    """How the log is exported: its own entries, or OCSF 1.5 API Activity (6003) and Authentication (3002)."""

    NATIVE = "native"
    OCSF = "ocsf"


class AuditFilterQuery(WindowQuery):
    """Which entries."""

    actor: Text | None = Field(None, description="Id of a person, token or account")
    action: Text | None = Field(None, examples=["token.create"])
    target: Text | None = None
    outcome: AuditOutcome | None = None

    def to_filter(self) -> AuditFilter:
        """Return the filter of the store."""
        return AuditFilter(**{name: getattr(self, name) for name in AuditFilter.__struct_fields__})


class AuditQuery(AuditFilterQuery, Paging):
    """Which entries, and which page of them."""


class AuditExportQuery(AuditFilterQuery):
    """Which entries, and in which form."""

    format: AuditFormat = AuditFormat.NATIVE


@router.get("/v1/audit", response_model=AuditPage, responses=problems(422, 503))
def list_audit(query: Annotated[AuditQuery, Query()], context: Context, request: Request) -> Response:
    """Entries, newest first. `chain` ties each to the one before (docs/security.md)."""
    return audit_page(context, query).respond(request.url, document)


def audit_page(context: ApiContext, query: AuditQuery) -> RowPage[AuditEntry]:
    """Return the entries that `query` asks for."""
    return page_of(
        context,
        "audit",
        query,
        fetch=lambda wanted, limit, at: context.store.audit(wanted, limit, int(at.row_id) if at else None),
        place=lambda entry: (entry.at_ns, str(entry.seq)),
    )


@router.get(
    "/v1/audit/export",
    response_class=Response,
    responses=problems(422, 503) | {200: {"content": {NDJSON: {"schema": {"type": "string"}}}}},
)
def export_audit(query: Annotated[AuditExportQuery, Query()], context: Context, request: Request) -> Response:
    """All entries of a filter, newest first, one JSON object a line. An answer that breaks off was not complete."""
    headers = {"Cache-Control": "no-store", "Content-Disposition": 'attachment; filename="audit.ndjson"'}
    if is_headers_only(request):
        return Response(headers=headers, media_type=NDJSON)
    audit(request, "audit.export", query.format)
    return StreamingResponse(_lines(context, query.to_filter(), query.format), headers=headers, media_type=NDJSON)


def _lines(context: ApiContext, wanted: AuditFilter, how: AuditFormat) -> Iterator[bytes]:
    """Yield the export a page at a time: memory stays that of one page."""
    before: int | None = None
    while page := context.store.audit(wanted, EXPORT_PAGE, before):
        rows = (ocsf_audit(row, context.version) if how is AuditFormat.OCSF else document(row) for row in page)
        yield b"".join(msgspec.json.encode(row) + b"\n" for row in rows)
        before = page[-1].seq
