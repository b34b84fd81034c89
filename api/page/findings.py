"""Findings as the page shows them: in a row each, and one with its whole story."""

from collections.abc import Iterable
from dataclasses import dataclass

import msgspec

from api.context import ApiContext, ServiceRow
from api.explained import explained
from api.page.charts import SPLIT, Chart, make_chart
from api.page.names import short_names
from api.page.templates import capitalized
from api.policy.exceptions import exception_document, exceptions_of_file
from api.times import DAY_NS, HOUR_NS
from api.veil import Veil
from db.values import Aggregation, Dimension, EventFilter, Finding, FindingFilter, HistoryEntry
from rules.values.dissected import DissectedPacket
from rules.values.event import Event
from rules.values.observation import Kind
from rules.values.verdict import Outcome

REPORTED = (Outcome.UNSANCTIONED, Outcome.SUSPICIOUS)
MAX_EVENTS = 50
MAX_OTHERS = 12
MAX_HISTORY = 50
MAX_BARS = 60
DRAWN_FROM_NS = HOUR_NS // 6
STEPS_NS = (HOUR_NS // 60, HOUR_NS // 6, HOUR_NS, 6 * HOUR_NS, DAY_NS)


@dataclass(frozen=True, slots=True)
class FindingRow:
    """A finding with the sentence that says how we know, and the event seen last."""

    finding: Finding
    service: str
    sentence: str
    event: Event | None


@dataclass(frozen=True, slots=True)
class Story:
    """One finding with what explains it.

    `activity` counts its events by how they did; `exception` is what allows it, None for nothing. `events` are its
    newest, `others` the other findings of its source, `ends` the names and addresses that it spoke to
    with the number of its shown events for each.
    """

    row: FindingRow
    service: ServiceRow | None
    sentences: tuple[str, ...]
    exception: dict[str, object] | None
    activity: Chart
    events: tuple[Event, ...]
    has_more_events: bool
    others: tuple[FindingRow, ...]
    ends: tuple[tuple[str, int], ...]
    history: tuple[HistoryEntry, ...]
    has_evidence: bool
    packets: tuple[DissectedPacket, ...]

    @property
    def has_activity(self) -> bool:
        """Tell whether it went on for long enough to be drawn."""
        finding = self.row.finding
        return finding.last_seen_ns - finding.first_seen_ns >= DRAWN_FROM_NS


def finding_rows(
    context: ApiContext, findings: Iterable[Finding], names: dict[str | None, str], shown: Veil
) -> tuple[FindingRow, ...]:
    """Return the rows of `findings` as they are in the store, in their order."""
    return tuple(_row(context, finding, names, shown) for finding in findings)


def make_story(context: ApiContext, finding: Finding, shown: Veil) -> Story:
    """Return everything that the page of one finding, as it is in the store, shows."""
    names = short_names(context)
    row = _row(context, finding, names, shown)
    wanted = EventFilter(src=finding.src_ip, service=finding.service or "", role=finding.role)
    events = _events(context, wanted)
    others = context.store.findings(FindingFilter(src=finding.src_ip), MAX_OTHERS + 1)
    evidence = context.store.evidence(finding.event_id) if shown.pseudonyms is None else None
    visible = tuple(map(shown.event, events[:MAX_EVENTS]))
    return Story(
        row=row,
        service=next((known for known in context.catalogue_services() if known.id == finding.service), None),
        sentences=explained(row.event, context) if row.event else (),
        exception=_exception(context, finding.exception_id),
        activity=_activity(context, wanted, finding),
        events=visible,
        has_more_events=len(events) > MAX_EVENTS,
        others=finding_rows(
            context, [other for other in others if other.finding_id != finding.finding_id], names, shown
        ),
        ends=_ends(visible),
        history=tuple(context.store.finding_history(finding.finding_id, None, MAX_HISTORY)),
        has_evidence=evidence is not None,
        packets=tuple(context.dissect(evidence)) if evidence is not None else (),
    )


def _row(context: ApiContext, finding: Finding, names: dict[str | None, str], shown: Veil) -> FindingRow:
    found = context.store.event(finding.event_id)
    event = shown.event(found) if found else None
    return FindingRow(
        shown.finding(finding), names.get(finding.service, finding.service or ""), _sentence(event), event
    )


def _events(context: ApiContext, wanted: EventFilter) -> list[Event]:
    """Return the newest events of a finding, one more than are shown: what is sanctioned is none of its."""
    each = (msgspec.structs.replace(wanted, verdict=verdict) for verdict in REPORTED)
    found = [event for query in each for event in context.store.events(query, MAX_EVENTS + 1)]
    return sorted(found, key=lambda event: (-event.observed_at_ns, event.event_id))[: MAX_EVENTS + 1]


def _activity(context: ApiContext, wanted: EventFilter, finding: Finding) -> Chart:
    """Return the events of a finding by how they did, in `MAX_BARS` intervals at most up to when it was seen last."""
    spent_ns = finding.last_seen_ns - finding.first_seen_ns
    step_ns = next((step for step in STEPS_NS if spent_ns < step * (MAX_BARS - 1)), STEPS_NS[-1])
    to_ns = finding.last_seen_ns // step_ns * step_ns + step_ns
    from_ns = max(finding.first_seen_ns // step_ns * step_ns, to_ns - MAX_BARS * step_ns)
    window = msgspec.structs.replace(wanted, from_ns=from_ns, to_ns=to_ns)
    how = Aggregation(by=(Dimension.STATE, Dimension.VERDICT), interval_ns=step_ns)
    groups = context.store.aggregate(window, how, MAX_BARS * len(SPLIT) * len(Outcome))
    reported = [group for group in groups if group.values[1] in REPORTED]
    return make_chart(range(from_ns, to_ns, step_ns), reported, SPLIT, "Events of this finding")


def _exception(context: ApiContext, exception_id: str | None) -> dict[str, object] | None:
    """Return what allows a finding, also while it has ended."""
    if exception_id is None:
        return None
    stored = context.store.policy.exception(exception_id)
    if stored is not None:
        return exception_document(stored, context)
    return next((row for row in exceptions_of_file(context) if row["exception_id"] == exception_id), None)


def _sentence(event: Event | None) -> str:
    """Return the reasons of an event as one sentence, "" without any."""
    reasons = event.reasons if event else ()
    details = [reason.detail.strip().rstrip(".") for reason in reasons if reason.detail.strip()]
    text = "; ".join(dict.fromkeys(details))
    return f"{capitalized(text)}." if text else ""


def _ends(events: Iterable[Event]) -> tuple[tuple[str, int], ...]:
    counts: dict[str, int] = {}
    for event in events:
        counts[_end(event)] = counts.get(_end(event), 0) + 1
    return tuple(sorted(counts.items(), key=lambda item: -item[1]))


def _end(event: Event) -> str:
    if not event.dst_name:
        return event.dst_ip
    return (
        f"{event.dst_name}, asked of {event.dst_ip}"
        if event.kind is Kind.DNS
        else f"{event.dst_name} at {event.dst_ip}"
    )
