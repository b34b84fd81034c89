"""What an organisation adds to the catalogue: services of its own, and changes to those that are there.

A file without `extends` is a whole service, written as those of the catalogue are. One with `extends = "ID"` changes
that service: `[add]` and `[remove]` say what lists gain and lose, `[replace]` what other fields are instead.
"""

import difflib
import tomllib
from collections.abc import Mapping
from typing import Any

import msgspec

from rules.catalogue.service import Service, read_service
from rules.errors import InvalidCatalogue

EXTENDS = "extends"
ADD, REMOVE, REPLACE, WHY = "add", "remove", "replace", "why"
LISTS = tuple(
    field.name for field in msgspec.structs.fields(Service) if str(field.type).startswith("tuple")
)  # what [add] and [remove] may name


def with_additions(
    tables: Mapping[str, Mapping[str, Any]], services: Mapping[str, Service], files: Mapping[str, str]
) -> dict[str, Service]:
    """Return `services`, made from `tables`, with what `files` (texts by name) add and change, in the order of names.

    Raises:
        InvalidCatalogue: a file cannot be used; the message names file and key.
    """
    changed, found = {service_id: dict(table) for service_id, table in tables.items()}, dict(services)
    for file_name in sorted(files):
        table = _parse(files[file_name], file_name)
        if EXTENDS in table:
            service_id = _extended(table, file_name, changed)
            changed[service_id] = _changed(changed[service_id], table, file_name)
        else:
            service_id = file_name.removesuffix(".toml")
            _refuse_hidden(service_id, file_name, changed)
            changed[service_id] = table
        found[service_id] = read_service(changed[service_id], file_name, service_id)
    return found


def _parse(text: str, file_name: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidCatalogue(f"{file_name}: {error}") from None


def _extended(table: Mapping[str, Any], file_name: str, known: Mapping[str, object]) -> str:
    service_id = table[EXTENDS]
    if service_id not in known:
        close = difflib.get_close_matches(str(service_id), known, n=2)
        advice = f"did you mean {' or '.join(close)}?" if close else "`molecatcher catalogue show` lists them"
        raise InvalidCatalogue(f"{file_name}: {EXTENDS}: {service_id!r} is no service; {advice}")
    unknown = sorted(set(table) - {EXTENDS, ADD, REMOVE, REPLACE, WHY})
    if unknown:
        advice = f"beside `{EXTENDS}` there may be [{ADD}], [{REMOVE}], [{REPLACE}] and `{WHY}`"
        raise InvalidCatalogue(f"{file_name}: {unknown[0]}: unknown here; {advice}")
    return str(service_id)


def _refuse_hidden(service_id: str, file_name: str, known: Mapping[str, object]) -> None:
    if service_id in known:
        advice = f'write `{EXTENDS} = "{service_id}"` with [{ADD}], [{REMOVE}] or [{REPLACE}], or give it another name'
        raise InvalidCatalogue(f"{file_name}: the catalogue has a service {service_id} already: {advice}")


def _changed(service: Mapping[str, Any], table: Mapping[str, Any], file_name: str) -> dict[str, Any]:
    changed = dict(service)
    for verb in (REMOVE, ADD):
        for key, values in _section(table, verb, file_name).items():
            if key not in LISTS or not isinstance(values, list):
                advice = f"{verb} takes lists of {', '.join(LISTS)}; other fields go under [{REPLACE}]"
                raise InvalidCatalogue(f"{file_name}: {verb}.{key}: {advice}")
            before = list(changed.get(key, []))
            changed[key] = (
                _added(before, values) if verb == ADD else _removed(before, values, f"{file_name}: {verb}.{key}")
            )
    for key, value in _section(table, REPLACE, file_name).items():
        if key == "id":
            raise InvalidCatalogue(f"{file_name}: {REPLACE}.id: a service keeps its id")
        changed[key] = value
    return changed


def _section(table: Mapping[str, Any], verb: str, file_name: str) -> dict[str, Any]:
    section = table.get(verb, {})
    if not isinstance(section, dict):
        raise InvalidCatalogue(f"{file_name}: {verb}: write it as a table, [{verb}]")
    return section


def _added(before: list[Any], values: list[Any]) -> list[Any]:
    return before + [value for value in values if value not in before]


def _removed(before: list[Any], values: list[Any], key: str) -> list[Any]:
    for value in values:
        if value not in before:
            raise InvalidCatalogue(f"{key}: {value!r} is not there; `molecatcher catalogue show` prints what is")
    return [value for value in before if value not in values]
