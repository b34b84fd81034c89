"""Events in the shapes that others read: one small module a format, each a function from an event to its octets."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from api.exports import cef, ecs, native, ocsf, spreadsheet
from rules.values.event import Event


class ExportFormat(StrEnum):
    """The formats there are."""

    NATIVE = "native"
    CSV = "csv"
    OCSF = "ocsf"
    ECS = "ecs"
    CEF = "cef"


@dataclass(frozen=True, slots=True)
class Export:
    """How a format is written: each event ends in a newline. `write` takes the event and the program's version."""

    media_type: str
    extension: str
    write: Callable[[Event, str], bytes]
    header: bytes = b""


EXPORTS = {
    ExportFormat.NATIVE: Export("application/x-ndjson", "ndjson", native.write),
    ExportFormat.CSV: Export("text/csv; charset=utf-8; header=present", "csv", spreadsheet.write, spreadsheet.HEADER),
    ExportFormat.OCSF: Export("application/x-ndjson", "ocsf.ndjson", ocsf.write),
    ExportFormat.ECS: Export("application/x-ndjson", "ecs.ndjson", ecs.write),
    ExportFormat.CEF: Export("text/plain; charset=utf-8", "cef", cef.write),
}
