"""What the overview shows, asked of the store once per rendering. Times stay numbers; the templates word them."""

from dataclasses import dataclass, field

from api.context import ApiContext, PolicyStatus
from api.feeds.pull_log import ConsumerStates
from api.page.charts import Chart, make_chart
from api.page.findings import FindingRow, finding_rows
from api.page.first_steps import Step, first_steps
from api.page.kept import Kept
from api.page.lists import ListCard, list_cards
from api.page.names import short_names
from api.page.sensor_cards import SensorCard, make_card
from api.page.trends import CHARTED, LEAST_S, Trends, count_trends
from api.policy.sensor_rules import SensorRules
from api.times import HOUR_NS, NS_PER_S
from api.veil import Veil
from db.values import Aggregation, Dimension, EventFilter, FindingFilter, FindingState
from rules.values.event import DEMONSTRATION, Event
from rules.values.observation import FlowState
from rules.values.verdict import Outcome

MINUTE_NS = 60 * NS_PER_S
MINUTES = 60
MAX_FINDINGS = 12
MAX_COUNTED = 1000
MAX_EVENTS = 12


@dataclass(frozen=True, slots=True)
class View:
    """Everything on the page at one moment."""

    now_ns: int
    sensors: tuple[SensorCard, ...]
    findings: tuple[FindingRow, ...]
    has_more_findings: bool
    open_count: int
    live_count: int
    events: tuple[Event, ...]
    names: dict[str | None, str]
    chart: Chart
    trends: Trends
    lists: tuple[ListCard, ...]
    policy: PolicyStatus
    access_error: str
    steps: tuple[Step, ...]
    can_demonstrate: bool
    has_demonstration: bool

    @property
    def counts_all(self) -> bool:
        """Tell whether all open findings were counted."""
        return self.open_count < MAX_COUNTED

    @property
    def is_watched(self) -> bool:
        """Tell whether any sensor captures now."""
        return any(sensor.is_capturing for sensor in self.sensors)


@dataclass(frozen=True, slots=True)
class KeptCounts:
    """What the overview counts, each kept for all who look."""

    minutes: Kept[Chart] = field(default_factory=lambda: Kept(count_minutes))
    trends: Kept[Trends] = field(default_factory=lambda: Kept(count_trends, LEAST_S))


def make_view(
    context: ApiContext, kept: KeptCounts, consumers: ConsumerStates, rules: SensorRules, shown: Veil
) -> View:
    """Return what the page shows now."""
    store, now_ns = context.store, context.now_ns()
    names = short_names(context)
    findings = store.findings(FindingFilter(state=FindingState.OPEN), MAX_FINDINGS + 1)
    opened = store.count_open_findings(MAX_COUNTED)
    rows = finding_rows(context, findings[:MAX_FINDINGS], names, shown)
    cards = tuple(make_card(sensor, now_ns, rules.state_of(sensor, now_ns)) for sensor in store.sensors())
    events = tuple(map(shown.event, store.events(EventFilter(), MAX_EVENTS)))
    policy = context.policy_status()
    return View(
        now_ns=now_ns,
        sensors=cards,
        findings=rows,
        has_more_findings=len(findings) > MAX_FINDINGS,
        open_count=sum(opened.values()),
        live_count=opened.get(FlowState.LIVE, 0),
        events=events,
        names=names,
        chart=kept.minutes.at(context, now_ns),
        trends=kept.trends.at(context, now_ns).shown(shown),
        lists=list_cards(context, consumers.states(now_ns)),
        policy=policy,
        access_error=context.access_error(),
        steps=first_steps(cards, events, policy),
        can_demonstrate=context.demonstrate is not None,
        has_demonstration=store.has_events_of(DEMONSTRATION),
    )


def count_minutes(context: ApiContext, now_ns: int) -> Chart:
    """Return the events of the last hour by minute and verdict."""
    to_ns = (now_ns // MINUTE_NS + 1) * MINUTE_NS
    from_ns = to_ns - HOUR_NS
    window, how = EventFilter(from_ns=from_ns, to_ns=to_ns), Aggregation(by=(Dimension.VERDICT,), interval_ns=MINUTE_NS)
    groups = context.store.aggregate(window, how, MINUTES * len(Outcome))
    return make_chart(range(from_ns, to_ns, MINUTE_NS), groups, CHARTED, "Events in the last hour")
