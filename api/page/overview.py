"""What the overview shows, asked of the store once per rendering. Times stay numbers; the templates word them."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product

from api.context import ApiContext, PolicyStatus
from api.page.findings import FindingRow, finding_rows
from api.page.first_steps import Step, first_steps
from api.page.lists import ListCard, list_cards
from api.page.names import short_names
from api.page.sensor_cards import SensorCard, make_card
from api.pull_log import ConsumerStates
from api.times import HOUR_NS, NS_PER_S
from api.veil import Veil
from db.values import Aggregation, Dimension, EventFilter, FindingFilter, FindingState
from rules.event import DEMONSTRATION, Event
from rules.observation import FlowState
from rules.verdict import Outcome

MINUTE_NS = 60 * NS_PER_S
MINUTES = 60
MAX_FINDINGS = 25
MAX_EVENTS = 12
CHARTED = (Outcome.SANCTIONED, Outcome.UNSANCTIONED, Outcome.SUSPICIOUS)
REST = 20


@dataclass(frozen=True, slots=True)
class Chart:
    """Events a minute of the last hour by verdict, as the script draws them and as a sentence says them."""

    series: str
    summary: str
    total: int


@dataclass(frozen=True, slots=True)
class View:
    """Everything on the page at one moment."""

    now_ns: int
    sensors: tuple[SensorCard, ...]
    findings: tuple[FindingRow, ...]
    has_more_findings: bool
    live_count: int
    events: tuple[Event, ...]
    names: dict[str | None, str]
    chart: Chart
    lists: tuple[ListCard, ...]
    policy: PolicyStatus
    steps: tuple[Step, ...]
    can_demonstrate: bool
    has_demonstration: bool

    @property
    def is_watched(self) -> bool:
        """Tell whether any sensor captures now."""
        return any(sensor.is_capturing for sensor in self.sensors)


@dataclass(slots=True)
class KeptChart:
    """The chart drawn last, which counts every event of an hour.

    Counted again only after 20 times as long as counting took (0.2 s for 200,000 events), so that however many pages
    are open, and however much is stored, it takes a twentieth of a processor at most.
    """

    chart: Chart | None = None
    due_s: float = 0.0

    def at(self, context: ApiContext, now_ns: int) -> Chart:
        """Return the chart of now, or of a moment ago."""
        started_s = time.monotonic()
        if self.chart is None or started_s >= self.due_s:
            self.chart = _chart(context, now_ns)
            ended_s = time.monotonic()
            self.due_s = ended_s + REST * (ended_s - started_s)
        return self.chart


def make_view(context: ApiContext, kept_chart: KeptChart, consumers: ConsumerStates, shown: Veil) -> View:
    """Return what the page shows now."""
    store, now_ns = context.store, context.now_ns()
    names = short_names(context)
    findings = store.findings(FindingFilter(state=FindingState.OPEN), MAX_FINDINGS + 1)
    rows = finding_rows(context, findings[:MAX_FINDINGS], names, shown)
    cards = tuple(make_card(sensor, now_ns) for sensor in store.sensors())
    events = tuple(map(shown.event, store.events(EventFilter(), MAX_EVENTS)))
    policy = context.policy_status()
    return View(
        now_ns=now_ns,
        sensors=cards,
        findings=rows,
        has_more_findings=len(findings) > MAX_FINDINGS,
        live_count=sum(row.finding.tunnel_state is FlowState.LIVE for row in rows),
        events=events,
        names=names,
        chart=kept_chart.at(context, now_ns),
        lists=list_cards(context, consumers.states(now_ns)),
        policy=policy,
        steps=first_steps(cards, events, policy),
        can_demonstrate=context.demonstrate is not None,
        has_demonstration=store.has_events_of(DEMONSTRATION),
    )


def _chart(context: ApiContext, now_ns: int) -> Chart:
    to_ns = (now_ns // MINUTE_NS + 1) * MINUTE_NS
    from_ns = to_ns - HOUR_NS
    window, how = EventFilter(from_ns=from_ns, to_ns=to_ns), Aggregation(by=(Dimension.VERDICT,), interval_ns=MINUTE_NS)
    groups = context.store.aggregate(window, how, MINUTES * len(Outcome))
    starts = range(from_ns, to_ns, MINUTE_NS)
    found = {(group.start_ns, Outcome(str(group.values[0]))): group.value for group in groups}
    columns = {verdict: [0] * MINUTES for verdict in CHARTED}
    for (at, start), verdict in product(enumerate(starts), CHARTED):
        columns[verdict][at] = found.get((start, verdict), 0)
    series = [[start // NS_PER_S for start in starts], *columns.values()]
    return Chart(json.dumps(series, separators=(",", ":")), _summary(found), sum(found.values()))


def _summary(found: Mapping[tuple[int | None, Outcome], int]) -> str:
    totals = dict.fromkeys(CHARTED, 0)
    for (_, verdict), number in found.items():
        totals[verdict] += number
    worded = ", ".join(f"{total} {verdict.value}" for verdict, total in totals.items())
    return f"Events in the last hour: {worded}"
