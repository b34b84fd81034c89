"""A sensor's health in words: does it capture, does it keep up, what must be done about it."""

from dataclasses import dataclass
from enum import StrEnum

from api.times import NS_PER_S, relative
from rules.sensor_status import SensorStatus

SILENT_AFTER_NS = 30 * NS_PER_S


class Health(StrEnum):
    """How a sensor does; the value is what the style sheet knows it by."""

    CAPTURING = "good"
    WAITING = "waiting"
    SILENT = "bad"


@dataclass(frozen=True, slots=True)
class SensorCard:
    """One sensor's state, headline and what to worry about."""

    status: SensorStatus
    health: Health
    headline: str
    alerts: tuple[str, ...]

    @property
    def is_capturing(self) -> bool:
        """Tell whether it sees packets now."""
        return self.health is Health.CAPTURING


def make_card(status: SensorStatus, now_ns: int) -> SensorCard:
    """Return the card of a sensor whose newest heartbeat is `status`."""
    if now_ns - status.heartbeat_ns > SILENT_AFTER_NS:
        since = relative(status.heartbeat_ns, now_ns)
        return SensorCard(status, Health.SILENT, f"Silent: last heard {since}", _alerts(status))
    if not status.interfaces:
        return SensorCard(status, Health.WAITING, "Waiting for a default route", _alerts(status))
    return SensorCard(status, Health.CAPTURING, f"Capturing on {', '.join(status.interfaces)}", _alerts(status))


def _alerts(status: SensorStatus) -> tuple[str, ...]:
    alerts = []
    if status.policy_error:
        alerts.append(f"The policy file cannot be used, the one before stays in force: {status.policy_error}")
    if status.kernel_drops:
        alerts.append(f"The kernel dropped {status.kernel_drops} packets since the sensor started")
    if status.spool_overflow:
        alerts.append(f"{status.spool_overflow} events were lost because the spool was full")
    if status.spool_events:
        alerts.append(f"{status.spool_events} events wait for the database")
    return tuple(alerts)
