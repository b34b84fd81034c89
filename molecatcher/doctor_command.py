"""`molecatcher doctor`: what this host can capture, what is missing, how to mend it."""

import sys
from collections.abc import Iterable

import msgspec
from rich.table import Table
from rich.text import Text

from molecatcher.tables import console
from sensor.capture.probe import Probe, probe_host

ESSENTIAL = frozenset({"packet sockets"})  # without the others capture is slower, or waits


def print_doctor(*, as_json: bool) -> int:
    """Print the checks of this host; return 1 if capture is impossible, else 0."""
    probes = probe_host()
    if as_json:
        sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(probes)) + b"\n")
    else:
        console().print(_table(probes))
    return 0 if all(probe.ok for probe in probes if probe.name in ESSENTIAL) else 1


def _table(probes: Iterable[Probe]) -> Table:
    table = Table("check", "result", "found", "what to do", header_style="bold")
    for probe in probes:
        result = Text("ok", style="green") if probe.ok else Text("missing", style="bold red")
        table.add_row(probe.name, result, Text(probe.detail), Text("" if probe.ok else probe.remedy))
    return table
