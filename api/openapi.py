"""The OpenAPI description: the framework's, with every error as the problem document that it is."""

from typing import Any

from fastapi import FastAPI

from api.problems import MEDIA_TYPE
from api.schemas import ProblemDocument

SCHEMA_PATH = "#/components/schemas/{model}"
_TITLES = {
    400: "The request, or its cursor, cannot be understood",
    401: "A credential was given, or is needed, and none that is good was; or a fresh sign-in is needed",
    403: "Who asks may not, or not in this way",
    404: "There is nothing here",
    406: "The answer has another media type than those of Accept",
    409: "That is not how things stand now",
    421: "The Host header names no loopback host",
    422: "A parameter has a value that cannot be used",
    429: "Too many requests; Retry-After says when to go on",
    500: "Something went wrong here; the log has the correlation id",
    503: "Not possible now; Retry-After says when to try again",
}
EVERYWHERE = (400, 401, 403, 421, 429, 500)


def problems(*codes: int) -> dict[int | str, dict[str, Any]]:
    """Return the `responses` of a route that can answer with these errors, beside those that every route can."""
    content = {MEDIA_TYPE: {"schema": {"$ref": SCHEMA_PATH.format(model=ProblemDocument.__name__)}}}
    return {code: {"description": _TITLES[code], "content": content} for code in sorted({*codes, *EVERYWHERE})}


def describe_problems(app: FastAPI) -> None:
    """Build the description once, with the problem document among its schemas."""
    description = app.openapi()
    schema = ProblemDocument.model_json_schema(ref_template=SCHEMA_PATH)
    schemas = description.setdefault("components", {}).setdefault("schemas", {})
    schemas.update(schema.pop("$defs", {}))
    schemas[ProblemDocument.__name__] = schema
