"""Detections to events: the first sighting at once, repeats as counters of a window (default 60 s)."""

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass

import msgspec

from rules.event import Event, make_event, uuid7
from sensor.detect import Detection
from sensor.losses import Losses

WINDOW_NS = 60_000_000_000
MAX_WINDOWS = 16_384


@dataclass(slots=True)
class _Window:
    """An open event: its last report and what has been counted since."""

    event: Event
    opened_ns: int
    count: int
    last_seen_ns: int
    is_dirty: bool = False


class Reporter:
    """Aggregates detections of the same source, destination, service and role.

    Both tables hold at most `max_windows` rows; the oldest window is reported and closed when one more is needed.
    """

    def __init__(
        self,
        sensor_id: str,
        window_ns: int = WINDOW_NS,
        max_windows: int = MAX_WINDOWS,
        *,
        losses: Losses | None = None,
    ) -> None:
        self.events = 0
        self.windows_evicted = 0
        self._sensor_id = sensor_id
        self._window_ns = window_ns
        self._max_windows = max_windows
        self._losses = losses if losses is not None else Losses()
        self._windows: OrderedDict[tuple[object, ...], _Window] = OrderedDict()
        self._by_observation: OrderedDict[int, _Window] = OrderedDict()

    def take(self, detections: Iterable[Detection], now_ns: int) -> list[Event]:
        """Return what has to be reported now: first sightings, and sightings that change what an event says."""
        reports: list[Event] = []
        for detection in detections:
            reports.extend(self._take(detection, now_ns))
        return reports

    def expire(self, now_ns: int) -> list[Event]:
        """Return the final counters of the windows that end by `now_ns`."""
        reports = []
        while self._windows:
            key, window = next(iter(self._windows.items()))
            if window.opened_ns + self._window_ns > now_ns:
                break
            del self._windows[key]
            window.is_dirty |= self._losses.since(window.opened_ns) > 0  # nothing new but that more was lost
            reports.extend(_counters(window))
        return reports

    def flush(self) -> list[Event]:
        """Return the counters of every open window and close it."""
        reports = [report for window in self._windows.values() for report in _counters(window)]
        self._windows.clear()
        return reports

    def _take(self, detection: Detection, now_ns: int) -> list[Event]:
        observation = detection.observation
        known = self._by_observation.get(observation.key)
        window = known or self._windows.get(_identity(detection))
        if window is None:
            return self._open(detection, now_ns)
        self._remember(observation.key, window)
        window.count += known is None
        window.last_seen_ns = max(window.last_seen_ns, now_ns)
        window.is_dirty = True
        return self._restate(window, detection)

    def _open(self, detection: Detection, now_ns: int) -> list[Event]:
        reports = []
        if len(self._windows) >= self._max_windows:
            self.windows_evicted += 1
            reports.extend(_counters(self._windows.popitem(last=False)[1]))
        observation = detection.observation
        event = make_event(observation, detection.verdict, uuid7(observation.observed_at_ns), self._sensor_id)
        window = _Window(event, now_ns, count=1, last_seen_ns=event.last_seen_ns)
        self._windows[_identity(detection)] = window
        self._remember(observation.key, window)
        self.events += 1
        return [*reports, event]

    def _restate(self, window: _Window, detection: Detection) -> list[Event]:
        old = window.event
        new = make_event(detection.observation, detection.verdict, old.event_id, self._sensor_id)
        if _statement(new) == _statement(old):
            return []
        window.event = msgspec.structs.replace(
            new, revision=old.revision, observed_at_ns=old.observed_at_ns, first_seen_ns=old.first_seen_ns
        )
        return _counters(window)

    def _remember(self, key: int, window: _Window) -> None:
        self._by_observation[key] = window
        self._by_observation.move_to_end(key)
        if len(self._by_observation) > self._max_windows:
            self._by_observation.popitem(last=False)


def _counters(window: _Window) -> list[Event]:
    if not window.is_dirty:
        return []
    window.is_dirty = False
    window.event = msgspec.structs.replace(
        window.event, revision=window.event.revision + 1, count=window.count, last_seen_ns=window.last_seen_ns
    )
    return [window.event]


def _identity(detection: Detection) -> tuple[object, ...]:
    observation, verdict = detection.observation, detection.verdict
    flow = observation.five_tuple
    return (
        *(flow.transport, flow.src, flow.dst, flow.dst_port, observation.kind),
        *(verdict.outcome, verdict.service, verdict.role, verdict.dst_name),
    )


def _statement(event: Event) -> tuple[object, ...]:
    """Return what an analyst would call news."""
    return event.verdict, event.service, event.role, event.state, event.exception_id, len(event.reasons), event.severity
