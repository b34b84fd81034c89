"""A sensor's health in words: does it capture, does it keep up, what must be done about it."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from api.page.templates import grouped
from api.policy.sensor_rules import RulesState
from api.times import duration, relative
from rules.values.sensor_status import SensorState, SensorStatus

MS_PER_S = 1000
HEARTBEAT_TURNS_OVER = 0.1  # of the filter's map


class Health(StrEnum):
    """How a sensor does; the value is what the style sheet knows it by."""

    GOOD = "good"
    WARNING = "waiting"
    BAD = "bad"


_HEALTH = {
    SensorState.SILENT: Health.BAD,
    SensorState.LOSING: Health.BAD,
    SensorState.WATCHING: Health.GOOD,
}


@dataclass(frozen=True, slots=True)
class SensorCard:
    """One sensor's state, headline and what to worry about."""

    status: SensorStatus
    state: SensorState
    headline: str
    alerts: tuple[str, ...]
    rules: RulesState = RulesState.OWN

    @property
    def is_capturing(self) -> bool:
        """Tell whether it sees packets now."""
        return self.state not in {SensorState.SILENT, SensorState.WAITING}

    @property
    def health(self) -> Health:
        """Return how it does."""
        return _HEALTH.get(self.state, Health.WARNING)


def make_card(status: SensorStatus, now_ns: int, rules: RulesState = RulesState.OWN) -> SensorCard:
    """Return the card of a sensor whose newest heartbeat is `status`; `rules` says which ones it uses."""
    state = status.state(now_ns)
    behind = ("It uses older rules than those in force here: what is sanctioned may be a finding there",)
    alerts = (*_alerts(status), *(behind if rules is RulesState.BEHIND else ()))
    return SensorCard(status, state, _headline(status, state, now_ns), alerts, rules)


def _headline(status: SensorStatus, state: SensorState, now_ns: int) -> str:
    """Return the worst in plain words."""
    match state:
        case SensorState.SILENT:
            return f"Silent: last heard {relative(status.heartbeat_ns, now_ns)}"
        case SensorState.WAITING:
            return "Waiting for a default route"
        case SensorState.LOSING:
            return f"Losing packets: {grouped(status.lost_last_minute)} in the last minute"
        case SensorState.BEHIND:
            return f"Behind by {duration(status.lag_ms // MS_PER_S)}"
        case SensorState.SPOOLING:
            waiting = grouped(status.spool_events + status.pending_events)
            return f"Spool filling: {waiting} events wait for the database"
        case SensorState.WATCHING:
            return "Watching"


def _alerts(status: SensorStatus) -> Iterator[str]:
    """Yield what to worry about beside the headline."""
    if status.policy_error:
        yield f"Its rules cannot be renewed, those before stay in force: {status.policy_error}"
    if status.lost_last_minute:
        yield "What is counted now is low, and tunnels may go unseen"
    if status.kernel_drops:
        yield f"The kernel dropped {_packets(status.kernel_drops)} since the sensor started, having no room for them"
    if status.shed:
        yield f"The sensor gave up {_packets(status.shed)} since it started; its log says why"
    if status.faults:
        yield f"The sensor failed {grouped(status.faults)} times at sorting packets out, and read them all: see its log"
    if status.flow_map_turnover >= HEARTBEAT_TURNS_OVER:
        yield "So many flows begin that the filter forgets them early: more packets are read than need be, none is lost"
    if status.spool_overflow:
        yield f"{grouped(status.spool_overflow)} events were lost because the spool was full"
    if status.pending_events:
        yield f"{grouped(status.pending_events)} events wait in memory: the spool cannot be written"


def _packets(number: int) -> str:
    return f"{grouped(number)} packet{'' if number == 1 else 's'}"
