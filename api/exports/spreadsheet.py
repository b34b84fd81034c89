"""Events as comma-separated values (RFC 4180), safe to open in a spreadsheet."""

import csv
import io

import msgspec

from rules.values.event import APART, Event, to_document

COLUMNS = (*(name.removesuffix("_ns") for name in Event.__struct_fields__ if name not in APART), "action")
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")  # OWASP, CSV injection


def write(event: Event, _version: str) -> bytes:
    """Return the event as one row, in the order of `COLUMNS`; lists are JSON."""
    document = to_document(event)
    return _row([_cell(document[name]) for name in COLUMNS])


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, list | tuple | dict):
        return msgspec.json.encode(value).decode()
    text = str(value)
    return f"'{text}" if text.startswith(FORMULA_STARTS) else text


def _row(cells: list[str]) -> bytes:
    line = io.StringIO()
    csv.writer(line, lineterminator="\r\n").writerow(cells)
    return line.getvalue().encode()


HEADER = _row(list(COLUMNS))
