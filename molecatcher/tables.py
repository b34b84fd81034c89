"""What the command line shows to people: tables and one-line summaries."""

from collections.abc import Iterable

from rich.console import Console
from rich.table import Table
from rich.text import Text

from molecatcher.replay import Summary
from rules.catalogue import Catalogue
from rules.event import Event, rfc3339
from rules.policy import Policy
from rules.verdict import Outcome
from sensor.capture.probe import Probe

STYLES = {Outcome.UNSANCTIONED: "bold red", Outcome.SUSPICIOUS: "yellow", Outcome.SANCTIONED: "green"}
DETECTION_COLUMNS = (
    "time (UTC)",
    "source",
    "verdict",
    "service",
    "role",
    "severity",
    "tunnel",
    "name",
    "to",
    "how we know",
)


def detections_table(events: Iterable[Event]) -> Table:
    """Return the detections as a table, one row each."""
    table = Table(*DETECTION_COLUMNS, header_style="bold", row_styles=("", "dim"), expand=True)
    for event in events:
        how = event.reasons[0].detail if event.reasons else ""
        table.add_row(
            *(rfc3339(event.observed_at_ns)[11:23], Text(event.src_ip)),
            Text(event.verdict.value, style=STYLES.get(event.verdict, "")),
            *(event.service or "", event.role.value, event.severity.value, event.state.value),
            *(Text(event.dst_name or ""), Text(_endpoint(event)), Text(how)),
        )
    return table


def print_summary(console: Console, summary: Summary) -> None:
    """Print what a replay saw, and what it could not read."""
    verdicts = ", ".join(f"{count} {verdict}" for verdict, count in sorted(summary.verdicts.items())) or "no detection"
    console.print(f"{summary.packets} packets, {summary.observations} observations: {verdicts}")
    if summary.malformed:
        kinds = ", ".join(f"{count} {kind}" for kind, count in summary.malformed.most_common())
        console.print(f"malformed and skipped: {kinds}", style="yellow")
    for warning in summary.warnings:
        console.print(warning, style="yellow", markup=False)


def probes_table(probes: Iterable[Probe]) -> Table:
    """Return what `doctor` found."""
    table = Table("check", "result", "found", "what to do", header_style="bold")
    for probe in probes:
        result = Text("ok", style="green") if probe.ok else Text("missing", style="bold red")
        table.add_row(probe.name, result, Text(probe.detail), Text("" if probe.ok else probe.remedy))
    return table


def services_table(catalogue: Catalogue, policy: Policy) -> Table:
    """Return the catalogue with what the policy decides about each service."""
    table = Table("service", "name", "category", "sources are", "decision", header_style="bold")
    for service in catalogue.services.values():
        decision = policy.decide(service)
        table.add_row(service.id, Text(service.name), service.category, service.confidence.value, decision.value)
    return table


def _endpoint(event: Event) -> str:
    host = f"[{event.dst_ip}]" if ":" in event.dst_ip else event.dst_ip
    return f"{host}:{event.dst_port}/{event.transport.value}"
