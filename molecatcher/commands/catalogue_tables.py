"""What `molecatcher catalogue` prints."""

import difflib
import sys
from collections.abc import Sequence

import msgspec
from rich.table import Table
from rich.text import Text

from molecatcher.commands.tables import console, counted
from molecatcher.errors import CatalogueError
from rules.catalogue.catalogue import Catalogue
from rules.catalogue.check import Level, Problem
from rules.catalogue.diff import Change, diff

_STYLES = {Level.ERROR: "bold red", Level.WARNING: "yellow"}


def print_catalogue(catalogue: Catalogue, now_ns: int, *, as_json: bool) -> None:
    """Print which catalogue is in force."""
    names = sum(1 for service in catalogue.services.values() for _ in service.entries())
    age = catalogue.age_days(now_ns)
    said = {
        "version": catalogue.version,
        "generated": catalogue.generated.isoformat(),
        "age_days": age,
        "is_old": catalogue.is_old(now_ns),
        "origin": catalogue.origin,
        "services": len(catalogue.services),
        "names": names,
        "additions": list(catalogue.additions),
    }
    if as_json:
        _print_json(said)
        return
    table = Table(show_header=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    table.add_row("version", f"{catalogue.version}, {counted(age, 'day')} old")
    table.add_row("from", catalogue.origin)
    table.add_row("holds", f"{counted(len(catalogue.services), 'service')}, {counted(names, 'name')}")
    table.add_row("your additions", Text(", ".join(catalogue.additions) or "-"))
    console().print(table)
    if warning := catalogue.warning(now_ns):
        console().print(f"warning: {warning}", style="yellow", markup=False)


def print_service(catalogue: Catalogue, service_id: str, *, as_json: bool) -> None:
    """Print everything that the catalogue says of a service.

    Raises:
        CatalogueError: there is no such service.
    """
    service = catalogue.services.get(service_id)
    if service is None:
        close = difflib.get_close_matches(service_id, catalogue.services, n=3)
        advice = f"did you mean {' or '.join(close)}?" if close else "`molecatcher check --services` lists them"
        raise CatalogueError(f"{service_id!r} is no service; {advice}")
    said = {key: value for key, value in msgspec.to_builtins(service).items() if value not in ("", [], (), False)}
    if as_json:
        _print_json(said)
        return
    table = Table(show_header=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for key, value in said.items():
        shown = "\n".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
        table.add_row(key, Text(shown))
    console().print(table)


def print_changes(before: Catalogue, after: Catalogue, *, as_json: bool) -> None:
    """Print what `after` has otherwise than `before`."""
    changes = diff(before, after)
    if as_json:
        _print_json({"from": before.version, "to": after.version, "changes": changes})
        return
    out = console()
    out.print(f"{before.version} -> {after.version}: {_counted(changes)}", markup=False, highlight=False)
    if changes:
        out.print(_changes_table(changes))


def _counted(changes: Sequence[Change]) -> str:
    services = {change.service for change in changes}
    if not services:
        return "the services are the same"
    return counted(len(services), "service changes", "services change")


def _changes_table(changes: Sequence[Change]) -> Table:
    table = Table("service", "field", "change", header_style="bold")
    for change in changes:
        text = Text()
        for mark, style, values in (("-", "red", change.removed), ("+", "green", change.added)):
            for value in values:
                text.append(f"{mark} {value}\n", style)
        text.right_crop(1)
        table.add_row(change.service, change.field, text)
    return table


def print_problems(problems: Sequence[Problem], tested: int, *, as_json: bool) -> None:
    """Print what is wrong with entries."""
    if as_json:
        _print_json({"tested": tested, "problems": problems})
        return
    if problems:
        table = Table("service", "", "entry", "what is wrong", header_style="bold")
        for row in problems:
            table.add_row(
                row.service, Text(row.level.value, style=_STYLES[row.level]), Text(row.key), Text(row.message)
            )
        console().print(table)
    errors = sum(row.level is Level.ERROR for row in problems)
    found = f"{counted(errors, 'error')}, {counted(len(problems) - errors, 'warning')}"
    console().print(f"{counted(tested, 'service')} tested: {found}")


def _print_json(value: object) -> None:
    sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(value)) + b"\n")
    sys.stdout.buffer.flush()
