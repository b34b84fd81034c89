"""What a change of the policy would do to lists and findings, looked up in bounded steps; nothing is kept."""

import msgspec

from api.context import ApiContext
from api.policy.checks import require_draft
from api.requests.bodies import DraftBody
from api.times import DAY_NS
from api.veil import Veil
from db.values import EventFilter, Finding, FindingFilter, FindingState
from rules.policy.overlay import apply_overlay
from rules.policy.ruleset import Ruleset
from rules.preview.draft import cautions, file_part, with_draft
from rules.preview.list_effects import ListEffect
from rules.preview.reconsider import Judgement, judge_again
from rules.values.event import Event
from rules.values.verdict import Outcome, Severity

DAYS = 30
MAX_FINDINGS = 200  # the newest of each state are looked at
MAX_EVENTS = 10  # of each
MAX_SANCTIONED = 500  # the newest events that are sanctioned now
MAX_SHOWN = 100
STATES = (FindingState.OPEN, FindingState.ACKNOWLEDGED, FindingState.EXCEPTED)
OUTCOMES = (Outcome.UNKNOWN, Outcome.SANCTIONED, Outcome.SUSPICIOUS, Outcome.UNSANCTIONED)
SEVERITIES = tuple(Severity)


class FindingEffect(msgspec.Struct, frozen=True, kw_only=True):
    """What would be said of a finding, or of a source that is sanctioned now (no finding), if it went on."""

    finding_id: str | None
    src_ip: str
    service: str | None
    role: str
    dst_name: str | None
    verdict_before: Outcome
    verdict_after: Outcome
    severity_before: Severity
    severity_after: Severity
    state_before: FindingState | None = None
    state_after: FindingState | None = None

    @property
    def is_change(self) -> bool:
        """Tell whether anything would be said otherwise."""
        before = self.verdict_before, self.severity_before, self.state_before
        return before != (self.verdict_after, self.severity_after, self.state_after)


class FindingEffects(msgspec.Struct, frozen=True, kw_only=True):
    """Up to `MAX_SHOWN` of the `changed` among those that were looked at; `is_complete`: there are no others."""

    days: int = DAYS
    looked_at: int
    is_complete: bool
    changed: int
    items: tuple[FindingEffect, ...]


class Preview(msgspec.Struct, frozen=True, kw_only=True):
    """What a change would do."""

    needs_approval: bool
    cautions: tuple[str, ...]
    lists: tuple[ListEffect, ...]
    findings: FindingEffects | None


def make_preview(body: DraftBody, context: ApiContext, veil: Veil, *, shows_findings: bool) -> Preview:
    """Return what a change would do.

    Raises:
        Problem: a part of it could not be kept.
    """
    rules, now_ns = context.ruleset(), context.now_ns()
    draft = require_draft(body, rules, now_ns)
    overlay = with_draft(context.store.policy.overlay(), draft)
    after = apply_overlay(file_part(rules.policy), overlay, rules.catalogue, now_ns)
    proposed = Ruleset(rules.catalogue, after)
    lists = (row for row in context.preview_lists(proposed) if row.added or row.removed or row.refusals or row.note)
    return Preview(
        needs_approval=context.needs_approval() and bool(draft.sanctions or draft.exceptions),
        cautions=(*cautions(rules.policy, after, now_ns), *after.warnings),
        lists=tuple(lists),
        findings=_findings(context, rules, proposed, veil) if shows_findings else None,
    )


def _findings(context: ApiContext, rules: Ruleset, proposed: Ruleset, veil: Veil) -> FindingEffects:
    store, now_ns = context.store, context.now_ns()
    from_ns = now_ns - DAYS * DAY_NS
    found: list[Finding] = []
    for state in STATES:
        found += store.findings(FindingFilter(from_ns=from_ns, state=state), MAX_FINDINGS)
    newest = sorted(found, key=lambda row: -row.last_seen_ns)[:MAX_FINDINGS]
    effects = []
    for finding, events in zip(newest, store.events_of_findings(newest, from_ns, MAX_EVENTS), strict=True):
        judged = [judge_again(event, rules, proposed, now_ns) for event in events]
        effects += [_of_finding(finding, judged, veil)] if judged else []
    sanctioned = store.events(EventFilter(from_ns=from_ns, verdict=Outcome.SANCTIONED), MAX_SANCTIONED)
    once = {(row.src_ip, row.service, row.dst_name): row for row in reversed(sanctioned)}
    effects += [_of_sanctioned(row, judge_again(row, rules, proposed, now_ns), veil) for row in once.values()]
    changes = [row for row in effects if row.is_change]
    return FindingEffects(
        looked_at=len(effects),
        is_complete=len(found) < MAX_FINDINGS and len(sanctioned) < MAX_SANCTIONED,
        changed=len(changes),
        items=tuple(changes[:MAX_SHOWN]),
    )


def _of_finding(finding: Finding, judged: list[tuple[Judgement, Judgement]], veil: Veil) -> FindingEffect:
    """Return what becomes of a finding: the worst that would be said of its events, and whether the newest is excepted.

    `judged` is what is said and would be said of each event, newest first.
    """
    held, would_hold = (each.exception_id is not None for each in judged[0])
    state = FindingState.EXCEPTED if would_hold else FindingState.OPEN
    after = [row[1] for row in judged]
    shown = veil.finding(finding)
    is_other = any(was != then for was, then in judged)
    return FindingEffect(
        finding_id=shown.finding_id,
        src_ip=shown.src_ip,
        service=finding.service,
        role=finding.role,
        dst_name=finding.dst_name,
        verdict_before=finding.verdict,
        verdict_after=max((row.outcome for row in after), key=OUTCOMES.index) if is_other else finding.verdict,
        severity_before=finding.severity,
        severity_after=max((row.severity for row in after), key=SEVERITIES.index) if is_other else finding.severity,
        state_before=finding.state,
        state_after=state if held != would_hold else finding.state,
    )


def _of_sanctioned(event: Event, judged: tuple[Judgement, Judgement], veil: Veil) -> FindingEffect:
    was, then = judged
    return FindingEffect(
        finding_id=None,
        src_ip=veil.event(event).src_ip,
        service=event.service,
        role=event.role,
        dst_name=event.dst_name,
        verdict_before=was.outcome,
        verdict_after=then.outcome,
        severity_before=was.severity,
        severity_after=then.severity,
    )
