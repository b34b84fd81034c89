"""`molecatcher doctor`: what this host can capture, what is missing, how to mend it."""

import sys
import time
from collections.abc import Iterable

import msgspec
from rich.table import Table
from rich.text import Text

from molecatcher.catalogue.folder import CatalogueFolder
from molecatcher.commands.tables import console, counted
from rules.errors import InvalidCatalogue
from sensor.capture.live.probe import Probe, probe_host

ESSENTIAL = frozenset({"packet sockets"})  # without the others capture is slower, or waits


def print_doctor(*, as_json: bool) -> int:
    """Print the checks of this host; return 1 if capture is impossible, else 0."""
    probes = [*probe_host(), _probe_catalogue()]
    if as_json:
        sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(probes)) + b"\n")
    else:
        console().print(_table(probes))
    return 0 if all(probe.ok for probe in probes if probe.name in ESSENTIAL) else 1


def _probe_catalogue() -> Probe:
    """Return whether the catalogue in force can be read and is young enough."""
    try:
        catalogue = CatalogueFolder().load()
    except InvalidCatalogue as error:
        return Probe("catalogue", ok=False, detail=str(error), remedy="mend or remove that file")
    now_ns = time.time_ns()
    detail = f"{catalogue.version} from {catalogue.origin}, {counted(catalogue.age_days(now_ns), 'day')} old"
    return Probe("catalogue", ok=not catalogue.is_old(now_ns), detail=detail, remedy=catalogue.warning(now_ns))


def _table(probes: Iterable[Probe]) -> Table:
    table = Table("check", "result", "found", "what to do", header_style="bold")
    for probe in probes:
        result = Text("ok", style="green") if probe.ok else Text("missing", style="bold red")
        table.add_row(probe.name, result, Text(probe.detail), Text("" if probe.ok else probe.remedy))
    return table
