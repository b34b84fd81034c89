"""Detections to events: the first sighting at once, repeats as counters of a window (default 60 s).

An event sums what its flows carry. As long as one of them lives, what it carries more is counted on that event, also
when its window has ended, and reported at most every `update_ns`.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from heapq import heappop, heappush

import msgspec

from rules.classification.classify import ROLE_STRENGTH
from rules.values.event import Event, Origin, duration_ms, make_event, uuid7, with_source
from rules.values.observation import NO_TRAFFIC, FlowState, Kind, Observation, Traffic
from rules.values.source import NOBODY, Source
from rules.values.verdict import Outcome
from sensor.detection.detection import Detection
from sensor.reporting.losses import Losses

ExceptionFor = Callable[[Event, Source], str | None]

WINDOW_NS = 60_000_000_000
UPDATE_NS = 30_000_000_000
MAX_WINDOWS = 6_144


@dataclass(slots=True)
class _Window:
    """An event: its last report and what has been counted since; `traffic` sums that of its flows.

    `identity` is what flows have that are counted here, if it is open to others.
    """

    identity: tuple[object, ...]
    event: Event
    opened_ns: int
    reported_ns: int
    count: int
    first_packet_ns: int
    last_seen_ns: int
    traffic: Traffic = NO_TRAFFIC
    source: Source = NOBODY
    exception_id: str | None = None  # what excepts it because of who it is
    is_shared: bool = False  # somebody else is behind a later flow
    is_dirty: bool = False
    is_due: bool = False  # waits in the queue of updates

    def add(self, observation_ns: int, before: Traffic, now: Traffic) -> None:
        """Count what a flow that began at `observation_ns` carried since `before`."""
        total = self.traffic
        self.first_packet_ns = min(self.first_packet_ns, observation_ns)
        self.traffic = Traffic(
            total.octets_out + now.octets_out - before.octets_out,
            total.octets_in + now.octets_in - before.octets_in,
            total.packets + now.packets - before.packets,
            max(total.last_ns, now.last_ns),
        )

    def remove(self, carried: Traffic) -> None:
        """Count a flow no longer, nor what it carried."""
        self.count -= 1
        self.add(self.first_packet_ns, carried, NO_TRAFFIC)

    def say_state(self, observation: Observation, before: Traffic) -> None:
        """Have the event say whether its newest traffic gets through: heard from the other end, or not any more.

        Of a flow that never was heard, its first report said all.
        """
        if not observation.traffic.octets_in:
            return
        is_heard = observation.traffic.octets_in > before.octets_in
        state = FlowState.LIVE if is_heard else FlowState.BLOCKED
        if observation.state is state is not self.event.state:
            self.event = msgspec.structs.replace(self.event, state=state, refusal=None)


def _new_id(detection: Detection) -> str:
    return uuid7(detection.observation.observed_at_ns)


class Reporter:
    """Aggregates detections of the same source, destination, service and name.

    By its name alone a flow may have a weaker role than by what it carries next, and reports leave in between. So flows
    of any role make one event, which has the strongest and says what the newest flow with it does; one that is only
    attempted changes nothing but the role where others got through or were blocked. A flow that turns out to go to
    another name takes its event along if that counts no other, else it leaves for one of that name.

    Windows and remembered flows are at most `max_windows` each. The oldest window is reported and closed when one more
    is needed; of the flow that was heard of least recently nothing more is counted (`sightings_evicted`).
    """

    def __init__(
        self,
        origin: Origin,
        window_ns: int = WINDOW_NS,
        max_windows: int = MAX_WINDOWS,
        *,
        update_ns: int = UPDATE_NS,
        make_id: Callable[[Detection], str] = _new_id,
        losses: Losses | None = None,
        exception_for: ExceptionFor = lambda _event, _source: None,
        completed: Callable[[Event, Detection], Event] = lambda event, _detection: event,
    ) -> None:
        self.events = 0
        self.windows_evicted = 0
        self.sightings_evicted = 0
        self._origin = origin
        self._window_ns = window_ns
        self._max_windows = max_windows
        self._update_ns = update_ns
        self._make_id = make_id
        self._exception_for = exception_for
        self._completed = completed
        self._losses = losses if losses is not None else Losses()
        self._windows: OrderedDict[tuple[object, ...], _Window] = OrderedDict()
        self._by_observation: OrderedDict[int, tuple[_Window, Traffic]] = OrderedDict()
        self._updates: list[tuple[int, str, _Window]] = []  # a heap, by when they are due
        self._lookups: OrderedDict[tuple[str, str], _Window] = OrderedDict()  # by source and name

    def take(self, detections: Iterable[Detection], now_ns: int) -> list[Event]:
        """Return what has to be reported now: first sightings, and sightings that change what an event says."""
        reports: list[Event] = []
        for detection in detections:
            reports.extend(self._take(detection, now_ns))
        return reports

    def update(self, detections: Iterable[Detection]) -> None:
        """Count what flows taken earlier carried since; `expire` reports it in its time."""
        for detection in detections:
            observation = detection.observation
            known = self._by_observation.get(observation.key)
            if known is not None:
                window, before = known
                self._remember(observation.key, window, detection)
                window.say_state(observation, before)
                window.last_seen_ns = max(window.last_seen_ns, observation.traffic.last_ns)
                self._touch(window)

    def attribute(self, answers: Iterable[tuple[int, Source]], now_ns: int) -> list[Event]:
        """Return the events of which it is now known who is behind them: answers are keyed by observation.

        An event names the first who is known. When another is behind a later flow of it, the event is excepted only if
        both are, also once it turns out to be of another service. Who connects also stands behind the look-up of that
        name, whoever asked the DNS for it.
        """
        reports: list[Event] = []
        for key, source in answers:
            known = self._by_observation.get(key)
            if known is None:
                continue
            event = known[0].event
            if self._attribute(known[0], source):
                reports.extend(self._counters(known[0], now_ns))
            if event.kind is not Kind.DNS and event.dst_name:
                lookup = self._lookups.pop((event.src_ip, event.dst_name), None)
                if lookup is not None:
                    lookup.source = NOBODY
                    self._attribute(lookup, source)
                    reports.extend(self._counters(lookup, now_ns))
        return reports

    def expire(self, now_ns: int) -> list[Event]:
        """Return the counters of the windows that end by `now_ns`, and those of events that flows go on with."""
        reports: list[Event] = []
        while self._windows:
            key, window = next(iter(self._windows.items()))
            if window.opened_ns + self._window_ns > now_ns:
                break
            del self._windows[key]
            reports.extend(self._end(window, now_ns))
        while self._updates and self._updates[0][0] <= now_ns:
            window = heappop(self._updates)[2]
            window.is_due = False
            reports.extend(self._counters(window, now_ns))
        return reports

    def flush(self) -> list[Event]:
        """Return the counters of every event that has some, and close every window."""
        reports = [report for window in self._windows.values() for report in self._end(window, window.reported_ns)]
        reports += [report for row in self._updates for report in self._counters(row[2], row[2].reported_ns)]
        self._windows.clear()
        self._updates.clear()
        return reports

    def _take(self, detection: Detection, now_ns: int) -> list[Event]:
        observation = detection.observation
        identity = _identity(detection)
        known = self._by_observation.get(observation.key)
        if known and known[0].event.dst_name != detection.verdict.dst_name:
            known = self._rename(observation.key, *known, identity, now_ns)
        window = known[0] if known else self._windows.get(identity)
        if window is None:
            return self._open(detection, now_ns)
        self._remember(observation.key, window, detection)
        window.count += known is None
        window.last_seen_ns = max(window.last_seen_ns, now_ns, observation.traffic.last_ns)
        window.is_dirty = True
        if self._windows.get(identity) is not window:
            self._touch(window)
        return self._restate(window, detection, now_ns)

    def _open(self, detection: Detection, now_ns: int) -> list[Event]:
        reports = []
        if len(self._windows) >= self._max_windows:
            self.windows_evicted += 1
            reports.extend(self._end(self._windows.popitem(last=False)[1], now_ns))
        observation = detection.observation
        event = self._event(detection, self._make_id(detection))
        event = msgspec.structs.replace(event, sensor_loss=self._losses.around(event.first_seen_ns))
        first_ns = observation.observed_at_ns
        identity = _identity(detection)
        window = _Window(identity, event, now_ns, now_ns, 1, first_packet_ns=first_ns, last_seen_ns=event.last_seen_ns)
        self._windows[identity] = window
        self._remember(observation.key, window, detection)
        if event.kind is Kind.DNS and event.dst_name:
            self._lookups[event.src_ip, event.dst_name] = window
            if len(self._lookups) > self._max_windows:
                self._lookups.popitem(last=False)
        self.events += 1
        return [*reports, self._completed(event, detection)]

    def _rename(
        self, key: int, window: _Window, carried: Traffic, identity: tuple[object, ...], now_ns: int
    ) -> tuple[_Window, Traffic] | None:
        """Return where a flow goes on that turned out to have another name: its event if that is its alone, or None."""
        if window.count > 1:
            del self._by_observation[key]
            window.remove(carried)
            self._touch(window)
            return None
        if self._windows.get(window.identity) is window:
            del self._windows[window.identity]
            if identity not in self._windows:  # the order is that in which windows were opened
                window.identity, window.opened_ns = identity, now_ns
                self._windows[identity] = window
        return window, carried

    def _restate(self, window: _Window, detection: Detection, now_ns: int) -> list[Event]:
        old = window.event
        if window.count > 1 and _says_less(detection, old):
            return []
        new = self._event(detection, old.event_id)
        if window.count > 1 and _is_behind(detection, old):
            new = msgspec.structs.replace(new, state=old.state, refusal=old.refusal)
        if window.source != NOBODY:
            if new.service != old.service:
                window.exception_id = self._exception(window, new, window.source)
            excepted = new.exception_id or window.exception_id
            new = msgspec.structs.replace(with_source(new, window.source), exception_id=excepted)
        if _statement(new) == _statement(old):
            return []
        window.event = msgspec.structs.replace(
            new,
            revision=old.revision,
            observed_at_ns=old.observed_at_ns,
            first_seen_ns=old.first_seen_ns,
            sensor_loss=old.sensor_loss,
        )
        return [self._completed(event, detection) for event in self._counters(window, now_ns)]

    def _attribute(self, window: _Window, source: Source) -> bool:
        """Note who is behind a flow of the window; tell whether its event says something else now."""
        event = window.event
        if window.source == NOBODY:
            window.source = source
            event = with_source(event, source)
        elif event.kind is Kind.DNS or source.who == window.source.who:
            return False
        else:
            window.is_shared = True
        window.exception_id = self._exception(window, event, source)
        event = msgspec.structs.replace(event, exception_id=window.exception_id)
        if event == window.event:
            return False
        window.event = event
        window.is_dirty = True
        return True

    def _exception(self, window: _Window, event: Event, source: Source) -> str | None:
        """Return what lets `source` do what `event` says, and whoever else is behind flows of the window."""
        found = self._exception_for(event, source)
        if window.is_shared and found != window.exception_id:
            return self._exception_for(event, NOBODY)
        return found

    def _event(self, detection: Detection, event_id: str) -> Event:
        return make_event(detection.observation, detection.verdict, event_id, self._origin, detection.basis)

    def _remember(self, key: int, window: _Window, detection: Detection) -> None:
        """Count what the flow carried since it was last heard of."""
        observation = detection.observation
        before = self._by_observation[key][1] if key in self._by_observation else NO_TRAFFIC
        window.add(observation.observed_at_ns, before, observation.traffic)
        self._by_observation[key] = window, observation.traffic
        self._by_observation.move_to_end(key)
        if len(self._by_observation) > self._max_windows:
            self._by_observation.popitem(last=False)
            self.sightings_evicted += 1

    def _touch(self, window: _Window) -> None:
        """Have the window's counters reported when its last report is `update_ns` old."""
        window.is_dirty = True
        if not window.is_due:
            window.is_due = True
            heappush(self._updates, (window.reported_ns + self._update_ns, window.event.event_id, window))

    def _end(self, window: _Window, now_ns: int) -> list[Event]:
        """Return the last counters of a window, also when there is nothing new but that more packets were lost."""
        window.is_dirty |= self._losses.around(window.event.first_seen_ns) > window.event.sensor_loss
        return self._counters(window, now_ns)

    def _counters(self, window: _Window, now_ns: int) -> list[Event]:
        if not window.is_dirty:
            return []
        window.is_dirty = False
        window.reported_ns = now_ns
        event, traffic = window.event, window.traffic
        window.event = msgspec.structs.replace(
            event,
            revision=event.revision + 1,
            count=window.count,
            last_seen_ns=window.last_seen_ns,
            bytes_out=traffic.octets_out,
            bytes_in=traffic.octets_in,
            packets=traffic.packets,
            duration_ms=duration_ms(window.first_packet_ns, traffic.last_ns),
            sensor_loss=max(event.sensor_loss, self._losses.around(event.first_seen_ns)),
        )
        return [window.event]


def _identity(detection: Detection) -> tuple[object, ...]:
    observation, verdict = detection.observation, detection.verdict
    flow = observation.five_tuple
    return (
        *(flow.transport, flow.src, flow.dst, flow.dst_port, observation.kind),
        *(verdict.outcome, verdict.service, verdict.dst_name),
    )


def _says_less(detection: Detection, event: Event) -> bool:
    """Tell whether a flow of an event shows less than others of it: a suspicion, a weaker role, or no answer yet."""
    verdict = detection.verdict
    if (verdict.outcome, event.verdict) == (Outcome.SUSPICIOUS, Outcome.UNSANCTIONED):
        return True
    if (verdict.outcome, verdict.service) != (event.verdict, event.service):
        return False
    if verdict.role is not event.role:
        return ROLE_STRENGTH[verdict.role] < ROLE_STRENGTH[event.role]
    return _is_behind(detection, event)


def _is_behind(detection: Detection, event: Event) -> bool:
    """Tell whether a flow was not answered yet, where others of its event got through or were blocked."""
    observation = detection.observation
    is_open = observation.dns is None and observation.state is FlowState.ATTEMPTED
    return is_open and event.state is not FlowState.ATTEMPTED


def _statement(event: Event) -> tuple[object, ...]:
    """Return what an analyst would call news."""
    verdict = event.verdict, event.service, event.role, event.severity, event.exception_id, len(event.reasons)
    return *verdict, event.dst_name, event.state
