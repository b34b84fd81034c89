"""The last seven days at a glance: how much of what verdict, of which services, by whom, and did it get through."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from urllib.parse import urlencode

from api.context import ApiContext
from api.page.charts import Bar, Chart, make_bar, make_chart
from api.page.names import short_names
from api.times import DAY_NS, HOUR_NS
from api.veil import Veil
from db.values import Aggregation, Dimension, EventFilter
from rules.values.verdict import Outcome

DAYS = 7
INTERVAL_NS = 3 * HOUR_NS
MAX_BARS = 8
MAX_GROUPS = 10_000
LEAST_S = 5.0  # a week's trend does not change much within that
CHARTED = (Outcome.SANCTIONED, Outcome.UNSANCTIONED, Outcome.SUSPICIOUS)
Splits = Mapping[str, Mapping[str, int]]


@dataclass(frozen=True, slots=True)
class Trends:
    """What the overview draws; `services` counts events, `sources` open findings by how their tunnel did last."""

    chart: Chart
    services: tuple[Bar, ...]
    sources: tuple[Bar, ...]

    def shown(self, veil: Veil) -> "Trends":
        """Return them as one caller may see them."""
        return replace(self, sources=tuple(_source(bar, veil) for bar in self.sources))


def count_trends(context: ApiContext, now_ns: int) -> Trends:
    """Return the trends of the seven days that end with this hour, counted from the hourly sums."""
    to_ns = now_ns // INTERVAL_NS * INTERVAL_NS + INTERVAL_NS
    window = EventFilter(from_ns=to_ns - DAYS * DAY_NS, to_ns=to_ns)
    by_verdict = Aggregation(by=(Dimension.VERDICT,), interval_ns=INTERVAL_NS)
    starts = range(to_ns - DAYS * DAY_NS, to_ns, INTERVAL_NS)
    groups = context.store.aggregate(window, by_verdict, MAX_GROUPS)
    return Trends(
        chart=make_chart(starts, groups, CHARTED, f"Events in the last {DAYS} days"),
        services=_bars(_services(context, window), short_names(context), "service"),
        sources=_bars(context.store.busiest_sources(to_ns - DAYS * DAY_NS, MAX_BARS), {}, "src"),
    )


def _services(context: ApiContext, window: EventFilter) -> Splits:
    how = Aggregation(by=(Dimension.SERVICE, Dimension.VERDICT, Dimension.STATE))
    found: dict[str, dict[str, int]] = {}
    for group in context.store.aggregate(window, how, MAX_GROUPS):
        service, verdict, state = group.values
        if verdict != Outcome.SANCTIONED:
            split = found.setdefault(service or "", {})
            split[str(state)] = split.get(str(state), 0) + group.value
    return found


def _bars(splits: Splits, names: Mapping[str | None, str], parameter: str) -> tuple[Bar, ...]:
    busiest = sorted(splits.items(), key=lambda item: -sum(item[1].values()))[:MAX_BARS]
    longest = max((sum(split.values()) for _, split in busiest), default=1)
    return tuple(
        make_bar(names.get(key or None, key), split, longest, f"/findings?{urlencode({parameter: key})}")
        for key, split in busiest
    )


def _source(bar: Bar, veil: Veil) -> Bar:
    shown = veil.group(Dimension.SRC, bar.label) or bar.label
    return replace(bar, label=shown, address=f"/findings?{urlencode({'src': shown})}")
