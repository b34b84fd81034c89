"""Filters as forms: what can be chosen, and a form's query read as the API reads it."""

from enum import StrEnum
from typing import TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import Request

from api.page.render import asked
from db.values import FindingState
from rules.observation import FlowState
from rules.verdict import Outcome, Role, Severity

Query = TypeVar("Query", bound=BaseModel)
Choices = dict[str, tuple[str, type[StrEnum]]]

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
