"""What the command line shows to people: tables and one-line summaries."""

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from molecatcher.recordings.replay import Summary
from rules.catalogue.catalogue import Catalogue
from rules.policy.policy import Policy
from rules.values.event import Event, to_document
from rules.values.observation import FlowState
from rules.values.verdict import Outcome

STYLES = {Outcome.UNSANCTIONED: "bold red", Outcome.SUSPICIOUS: "yellow", Outcome.SANCTIONED: "green"}
WIDTH_WITHOUT_TERMINAL = 120
COLUMNS = ("source", "verdict", "service", "role", "name", "seen in", "tunnel", "times")


@dataclass(slots=True)
class _Row:
    """Detections that an analyst would call the same."""

    last: Event
    times: int = 0
    evidence: set[str] = field(default_factory=set)
    states: set[FlowState] = field(default_factory=set)


def console() -> Console:
    """Return standard output: as wide as the terminal, 120 columns where there is none."""
    return Console() if sys.stdout.isatty() else Console(width=WIDTH_WITHOUT_TERMINAL)


def counted(number: int, noun: str, plural: str = "") -> str:
    """Return `number` with its noun: `1 packet`, `2 packets`."""
    return f"{number} {noun if number == 1 else plural or f'{noun}s'}"


def plain_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """Return rows of text without lines; what they are called by, the first column, is never cut short.

    What a terminal would obey is shown by its number: names come from others.
    """
    table = Table(box=None)
    for place, column in enumerate(columns):
        table.add_column(column, overflow="fold", no_wrap=place == 0)
    for row in rows:
        table.add_row(*(Text(_visible(cell)) for cell in row))
    return table


def _visible(text: str) -> str:
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def print_detections(events: Iterable[Event], *, as_json: bool) -> None:
    """Print a table of detections, or each as one line of JSON as soon as it is there."""
    if as_json:
        _print_lines(events)
        return
    table = _detections_table(events)
    if table.row_count:
        console().print(table)


def _print_lines(events: Iterable[Event]) -> None:
    encoder = msgspec.json.Encoder()
    for event in events:
        sys.stdout.buffer.write(encoder.encode(to_document(event, with_aggregates=False)) + b"\n")
    sys.stdout.buffer.flush()


def _detections_table(events: Iterable[Event]) -> Table:
    """Return the detections, those of the same source, service, role and name as one row, in order of appearance."""
    rows: dict[tuple[object, ...], _Row] = {}
    for event in events:
        row = rows.setdefault((event.src_ip, event.verdict, event.service, event.role, event.dst_name), _Row(event))
        row.times += 1
        row.evidence.update(reason.evidence for reason in event.reasons)
        row.states.add(event.state)
    table = Table(header_style="bold", row_styles=("", "dim"))
    for column in COLUMNS:
        table.add_column(column, overflow="fold", justify="right" if column == "times" else "left")
    for row in rows.values():
        table.add_row(*_cells(row))
    return table


def _cells(row: _Row) -> list[str | Text]:
    event = row.last
    state = next(state for state in (FlowState.LIVE, FlowState.ATTEMPTED, FlowState.BLOCKED) if state in row.states)
    return [
        Text(event.src_ip),
        Text(event.verdict.value, style=STYLES.get(event.verdict, "")),
        event.service or "",
        event.role.value,
        Text(event.dst_name or ""),
        ", ".join(sorted(row.evidence)),
        state.value,
        str(row.times),
    ]


def print_summary(console: Console, summary: Summary) -> None:
    """Print what a replay saw, and what it could not read."""
    for failure in summary.failures:
        console.print(f"molecatcher: {failure}", style="red", markup=False, highlight=False, soft_wrap=True)
    if summary.failures and not summary.packets:
        return
    verdicts = ", ".join(f"{count} {verdict}" for verdict, count in sorted(summary.verdicts.items())) or "no detection"
    console.print(f"{counted(summary.packets, 'packet')}: {verdicts}")
    if summary.copies:
        were = "was a copy" if summary.copies == 1 else "were copies"
        console.print(f"{counted(summary.copies, 'packet')} {were} of what another interface of the file had shown")
    if summary.malformed:
        kinds = ", ".join(f"{count} {kind}" for kind, count in summary.malformed.most_common())
        console.print(f"malformed and skipped: {kinds}", style="yellow")
    for warning in summary.warnings:
        console.print(warning, style="yellow", markup=False, soft_wrap=True)


def services_table(catalogue: Catalogue, policy: Policy) -> Table:
    """Return the catalogue with what the policy decides about each service."""
    table = Table("service", "name", "category", "sources are", "decision", header_style="bold")
    for service in catalogue.services.values():
        decision = policy.decide(service)
        table.add_row(service.id, Text(service.name), service.category, service.confidence.value, decision.value)
    return table
