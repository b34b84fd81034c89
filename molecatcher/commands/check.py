"""`molecatcher check`: validate the policy and print the configuration in effect."""

import sys
import time

import msgspec
from rich.table import Table
from rich.text import Text

from molecatcher.catalogue.folder import CatalogueFolder
from molecatcher.commands.tables import console, counted, services_table
from molecatcher.live_rules import read_policy
from molecatcher.settings import Settings
from rules.catalogue.catalogue import Catalogue
from rules.lists.building import build_names
from rules.policy.policy import Policy


def print_check(settings: Settings, *, as_json: bool, with_services: bool) -> None:
    """Print what a process started now would run with.

    Raises:
        InvalidPolicy: the policy cannot be used.
    """
    catalogue, now_ns = CatalogueFolder(settings.state, settings.catalogue_dir).load(), time.time_ns()
    policy = read_policy(settings.policy, catalogue, now_ns) if settings.policy else Policy()
    if as_json:
        document = msgspec.json.encode(_document(settings, catalogue, policy, now_ns))
        sys.stdout.buffer.write(msgspec.json.format(document) + b"\n")
        return
    out = console()
    out.print(_settings_table(settings))
    out.print(_policy_table(policy, now_ns))
    for warning in policy.warnings:
        out.print(f"warning: {warning}", style="yellow", markup=False)
    if warning := catalogue.warning(now_ns):
        out.print(f"warning: {warning}", style="yellow", markup=False)
    names = build_names(catalogue, policy, now_ns)
    out.print(
        f"catalogue {catalogue.version} from {catalogue.origin}, {counted(catalogue.age_days(now_ns), 'day')} old: "
        f"{counted(len(catalogue.services), 'service')}, {counted(len(catalogue.additions), 'addition')} of your own; "
        f"{counted(len(names.blocked), 'name')} on the block list"
    )
    if with_services:
        out.print(services_table(catalogue, policy))


def _settings_table(settings: Settings) -> Table:
    table = Table("setting", "value", "meaning", header_style="bold")
    for name, field in Settings.model_fields.items():
        value = getattr(settings, name)
        shown = ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
        table.add_row(name, Text(shown or "-"), Text(field.description or ""))
    return table


def _policy_table(policy: Policy, now_ns: int) -> Table:
    table = Table("policy", "what", "service", "owner", "until", "reason", header_style="bold")
    for sanction in policy.sanctions:
        state = "sanctioned" if sanction.is_active(now_ns) else "expired"
        until = str(sanction.expires or "-")
        table.add_row(
            state, Text(sanction.domain), sanction.service, Text(sanction.owner), until, Text(sanction.reason)
        )
    for row in policy.exceptions:
        selected = (f"{name} {value}" for name, values in row.who for value in sorted(values))
        sources = ", ".join([*map(str, row.sources), *selected])
        until = str(row.expires or "-")
        table.add_row("exception", Text(sources), row.service, Text(row.owner), until, Text(row.reason))
    for service, decision in policy.decisions.items():
        table.add_row(f"decided: {decision.value}", service)
    if not table.row_count:
        table.add_row("nothing is sanctioned: every tunnel is reported as unsanctioned")
    return table


def _document(settings: Settings, catalogue: Catalogue, policy: Policy, now_ns: int) -> dict[str, object]:
    return {
        "settings": settings.model_dump(mode="json"),
        "sanctioned": [
            {"domain": row.domain, "service": row.service, "owner": row.owner, "is_active": row.is_active(now_ns)}
            for row in policy.sanctions
        ],
        "exceptions": [{"id": row.id, "service": row.service, "owner": row.owner} for row in policy.exceptions],
        "decisions": {service.id: policy.decide(service).value for service in catalogue.services.values()},
        "warnings": list(policy.warnings),
        "catalogue": {
            "version": catalogue.version,
            "generated": catalogue.generated.isoformat(),
            "age_days": catalogue.age_days(now_ns),
            "is_old": catalogue.is_old(now_ns),
            "origin": catalogue.origin,
            "services": len(catalogue.services),
            "additions": list(catalogue.additions),
        },
    }
