"""Outputs as the page shows them: where to, what they take, how that goes."""

from dataclasses import dataclass

from api.context import ApiContext
from api.page.sensor_cards import Health
from api.page.templates import grouped
from api.times import relative
from db.workflow.output_values import DeadLetter, Output, OutputFilter, OutputKind, WebhookSource
from rules.values.verdict import Severity

LETTERS_SHOWN = 20
NAMES = {
    OutputKind.WEBHOOK: "webhook",
    OutputKind.SYSLOG: "syslog over TLS",
    OutputKind.HEC: "Splunk HEC",
    OutputKind.APPRISE: "mail or chat",
}


@dataclass(frozen=True, slots=True)
class OutputCard:
    """One output: `lag` commits wait for it; `letters` are its oldest dead letters, `has_more_letters` than these."""

    output: Output
    kind: str
    where: str
    takes: str
    health: Health
    headline: str
    lag: int
    letters: tuple[DeadLetter, ...]
    has_more_letters: bool


@dataclass(frozen=True, slots=True)
class OutputsView:
    """Every output, the programs that may call back, and what a new output can choose."""

    cards: tuple[OutputCard, ...]
    sources: tuple[WebhookSource, ...]
    services: tuple[tuple[str, str], ...]


def make_outputs(context: ApiContext) -> OutputsView:
    """Return what the page of outputs shows."""
    outputs, newest = context.store.outputs, context.store.last_ingest_seq()
    services = sorted(((row.id, row.name) for row in context.catalogue_services()), key=lambda row: row[1].lower())
    return OutputsView(
        cards=tuple(_card(context, row, newest) for row in outputs.outputs()),
        sources=tuple(outputs.sources()),
        services=tuple(services),
    )


def _card(context: ApiContext, output: Output, newest: int) -> OutputCard:
    lag = max(0, newest - output.place)
    letters = context.store.outputs.dead_letters(output.output_id, None, LETTERS_SHOWN + 1)
    health, headline = _state(output, lag, context.now_ns())
    return OutputCard(
        output=output,
        kind=NAMES[output.kind],
        where=_where(output),
        takes=_takes(output.wanted),
        health=health,
        headline=headline,
        lag=lag,
        letters=tuple(letters[:LETTERS_SHOWN]),
        has_more_letters=len(letters) > LETTERS_SHOWN,
    )


def _state(output: Output, lag: int, now_ns: int) -> tuple[Health, str]:
    waiting = f": {grouped(lag)} commits wait" if lag else ""
    if output.is_paused:
        return Health.WARNING, f"Paused{waiting}"
    if output.failing_since_ns is not None:
        return Health.BAD, f"Failing since {relative(output.failing_since_ns, now_ns)}{waiting}"
    if lag:
        return Health.GOOD, f"Delivering{waiting}"
    return Health.GOOD, "Nothing waits"


def _where(output: Output) -> str:
    target = output.target
    if output.kind is OutputKind.APPRISE:
        return "an address that is kept secret"
    if output.kind is OutputKind.SYSLOG:
        return f"{target['host']} port {target['port']}, {target['format']}"
    index = f", index {target['index']}" if target.get("index") else ""
    return f"{target['url']}{index}"


def _takes(wanted: OutputFilter) -> str:
    verdicts = " or ".join(wanted.verdicts) or "every verdict"
    severity = "" if wanted.min_severity is next(iter(Severity)) else f", {wanted.min_severity} and above"
    services = f", of {', '.join(wanted.services)}" if wanted.services else ""
    return f"{verdicts}{severity}{services}"
