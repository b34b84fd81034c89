"""The OpenAPI description: the framework's, with every error as the problem document that it is."""

import threading
from collections.abc import Iterator
from typing import Any

from fastapi import FastAPI

from api.middleware.idempotency import APART
from api.problems import MEDIA_TYPE
from api.requests.output_bodies import InboundBody
from api.schemas.problems import ProblemDocument

SCHEMA_PATH = "#/components/schemas/{model}"
_TITLES = {
    400: "The request, or its cursor, cannot be understood",
    401: "A credential was given, or is needed, and none that is good was; or a fresh sign-in is needed",
    403: "Who asks may not, or not in this way",
    404: "There is nothing here",
    406: "The answer has another media type than those of Accept",
    409: "That is not how things stand now",
    413: "The body is too large, or holds too many",
    414: "Path and query are too long",
    421: "The Host header names no loopback host",
    422: "A parameter has a value that cannot be used",
    429: "Too many requests; Retry-After says when to go on",
    500: "Something went wrong here; the log has the correlation id",
    503: "Not possible now; Retry-After says when to try again",
}
EVERYWHERE = (400, 401, 403, 413, 414, 421, 429, 500)
SIMPLEST: dict[str, Any] = {"string": "text", "integer": 1, "number": 0.5, "boolean": True, "object": {}, "null": None}
IDEMPOTENCY_KEY: dict[str, Any] = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "Sent again with the same key within 24 hours, the request is answered again and does nothing again",
    "schema": {"type": "string", "minLength": 1, "maxLength": 128, "pattern": "^[!-~]+$"},
}


def problems(*codes: int) -> dict[int | str, dict[str, Any]]:
    """Return the `responses` of a route that can answer with these errors, beside those that every route can."""
    content = {MEDIA_TYPE: {"schema": {"$ref": SCHEMA_PATH.format(model=ProblemDocument.__name__)}}}
    return {code: {"description": _TITLES[code], "content": content} for code in sorted({*codes, *EVERYWHERE})}


def describe(app: FastAPI) -> None:
    """Have the description made when it is first asked for: with problems, idempotency keys and examples."""
    made, generate = threading.Lock(), app.openapi

    def description() -> dict[str, Any]:
        with made:
            if app.openapi_schema is None:
                _complete(generate())
            return app.openapi_schema or {}

    app.openapi = description  # type: ignore[method-assign]  # the framework's own way to change it


def _complete(description: dict[str, Any]) -> None:
    schemas = description.setdefault("components", {}).setdefault("schemas", {})
    for model in (ProblemDocument, InboundBody):  # of no handler's signature
        schema = model.model_json_schema(ref_template=SCHEMA_PATH)
        schemas.update(schema.pop("$defs", {}))
        schemas[model.__name__] = schema
    for address, path in description["paths"].items():
        if "post" in path and not address.startswith(APART):
            _take_idempotency_key(path["post"])
        for operation in path.values():
            _add_examples(operation, schemas)


def _take_idempotency_key(operation: dict[str, Any]) -> None:
    operation.setdefault("parameters", []).append(IDEMPOTENCY_KEY)
    operation["responses"].update({str(code): problems(code)[code] for code in (409, 422)})


def _add_examples(operation: dict[str, Any], schemas: dict[str, Any]) -> None:
    for content in _contents(operation):
        if "schema" in content and not {"example", "examples"} & content.keys():
            content["example"] = example_of(content["schema"], schemas)


def _contents(operation: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield what an operation takes and what it answers, by media type."""
    for body in (operation.get("requestBody", {}), *operation["responses"].values()):
        yield from body.get("content", {}).values()


def example_of(schema: dict[str, Any], schemas: dict[str, Any]) -> Any:
    """Return an example of what `schema` describes, put together from those of its parts."""
    if "$ref" in schema:
        return example_of(schemas[schema["$ref"].rpartition("/")[2]], schemas)
    if "examples" in schema:
        return schema["examples"][0]
    if choices := schema.get("anyOf", schema.get("oneOf")):
        return example_of(choices[0], schemas)
    if schema.get("type") == "array":
        return [example_of(schema["items"], schemas)]
    if "properties" in schema:
        return {name: example_of(part, schemas) for name, part in schema["properties"].items()}
    known = (*schema.get("enum", ()), *(schema[name] for name in ("const", "default") if name in schema))
    return known[0] if known else SIMPLEST.get(schema.get("type", ""))
