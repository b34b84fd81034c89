"""Filters as forms: what can be chosen, and a form's query read as the API reads it."""

from collections.abc import Iterator
from enum import StrEnum
from typing import TypeVar
from urllib.parse import urlencode

from pydantic import BaseModel, ValidationError
from starlette.requests import Request

from api.exports import ExportFormat
from api.page.render import asked
from api.requests.parameters import WindowQuery
from api.times import DAY_NS, HOUR_NS
from db.values import FindingState
from rules.values.event import rfc3339
from rules.values.observation import FlowState
from rules.values.verdict import Outcome, Role, Severity

Query = TypeVar("Query", bound=BaseModel)
Choices = dict[str, tuple[str, type[StrEnum]]]
Links = tuple[tuple[str, str], ...]  # what a link says, and its address
NO_FILTER = frozenset({"cursor", "limit"})  # where one is in a list, and how much of it
WINDOWS = (("1 hour", HOUR_NS), ("24 hours", DAY_NS), ("7 days", 7 * DAY_NS), ("30 days", 30 * DAY_NS))
EXPORTS_SHOWN = (("CSV", ExportFormat.CSV), ("NDJSON", ExportFormat.NATIVE), ("OCSF", ExportFormat.OCSF))

_SHARED: Choices = {
    "severity": ("Severity", Severity),
    "verdict": ("Verdict", Outcome),
    "role": ("Role", Role),
}
FINDING_CHOICES: Choices = {
    "state": ("State", FindingState),
    "tunnel_state": ("Got through", FlowState),
} | _SHARED
EVENT_CHOICES: Choices = {"state": ("Got through", FlowState)} | _SHARED


def read_query(kind: type[Query], request: Request) -> tuple[Query, str]:
    """Return the query of the address and "", or an empty query and a sentence on what cannot be used."""
    try:
        return kind.model_validate(asked(request)), ""
    except ValidationError as error:
        row = error.errors(include_url=False, include_input=False)[0]
        name = ".".join(map(str, row["loc"])) or "query"
        return kind.model_validate(
            {}
        ), f"{name}: {row['msg'].removeprefix('Value error, ')}. Everything is shown instead."


def filter_of(request: Request) -> dict[str, str]:
    """Return the filter in the address, without where in the list one is."""
    return {name: value for name, value in asked(request).items() if name not in NO_FILTER}


def windows_of(request: Request, wanted: WindowQuery, now_ns: int) -> Iterator[tuple[str, str, bool]]:
    """Yield the same filter with other times to begin at, each with its name and whether it is what `wanted` asks for.

    Times are whole minutes, so that addresses do not change at once; one that is a twentieth older is still current.
    """
    others = {name: value for name, value in filter_of(request).items() if name not in {"from", "to"}}
    minute_ns = now_ns - now_ns % (HOUR_NS // 60)
    age_ns = DAY_NS if wanted.from_ns is None else now_ns - wanted.from_ns
    for name, window_ns in WINDOWS:
        is_current = wanted.to_ns is None and abs(age_ns - window_ns) <= window_ns // 20
        yield name, f"{request.url.path}?{urlencode(others | {'from': rfc3339(minute_ns - window_ns)})}", is_current


def exports_of(request: Request) -> Links:
    """Return where the events of the filter are had as files."""
    wanted = filter_of(request)
    return tuple(
        (name, f"/v1/events/export?{urlencode(wanted | {'format': export.value})}") for name, export in EXPORTS_SHOWN
    )
