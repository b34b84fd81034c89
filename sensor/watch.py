"""The flows with a detection, followed for as long as they live: what they carry grows after what they are is known."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from msgspec.structs import replace

from rules.values.observation import FlowState, Observation, Traffic, Transport
from sensor.detection import Detection
from sensor.flow import Flow, is_over

PERIOD_NS = 10_000_000_000
SILENT_LOOKS = 3  # TCP acknowledges what comes: an end that is sent to and silent for so long hears nothing
MAX_FLOWS = 8_192
AT_ONCE = 512

CountApart = Callable[[Flow], None]


@dataclass(slots=True)
class _Followed:
    detection: Detection
    flow: Flow
    initiator: int
    checked_ns: int
    silent: int = 0  # looks in a row at which more had been sent and nothing answered

    def renew(self) -> bool:
        """Bring the detection up to what the flow carries, and whether it still gets through; tell whether it grew."""
        observation = self.detection.observation
        traffic = self.flow.traffic(self.initiator)
        if traffic == observation.traffic:
            return False
        state = self._state(observation, traffic)
        refusal = observation.refusal if state is observation.state else None
        renewed = replace(observation, traffic=traffic, state=state, refusal=refusal)
        self.detection = replace(self.detection, observation=renewed)
        return True

    def _state(self, observation: Observation, traffic: Traffic) -> FlowState:
        """Return the state of a flow that got through: `blocked` while what is sent is answered by nothing any more."""
        was_live = observation.state is FlowState.LIVE or self.silent >= SILENT_LOOKS
        if not was_live or observation.five_tuple.transport is not Transport.TCP:
            return observation.state
        if traffic.octets_in > observation.traffic.octets_in:
            self.silent = 0
            return FlowState.LIVE
        self.silent += traffic.octets_out > observation.traffic.octets_out
        return FlowState.BLOCKED if self.silent >= SILENT_LOOKS else observation.state


class Watch:
    """At most `limit` flows; without room the one looked at least recently is given up and counted in `evicted`.

    `count_apart(flow)` brings a flow up to what its source counted of it without handing it out. A look costs some
    2 us and what that takes; 512 flows at once bound how long packets wait for it.
    """

    def __init__(self, count_apart: CountApart | None = None, limit: int = MAX_FLOWS) -> None:
        self.evicted = 0
        self.count_apart = count_apart
        self._limit = limit
        self._followed: OrderedDict[int, _Followed] = OrderedDict()  # by when they were looked at

    def __len__(self) -> int:
        return len(self._followed)

    def add(self, detection: Detection, flow: Flow, now_ns: int) -> None:
        """Follow the flow of `detection`, or note what is now said of it."""
        observation = detection.observation
        known = self._followed.get(observation.key)
        if known is None and len(self._followed) >= self._limit:
            self._followed.popitem(last=False)
            self.evicted += 1
        initiator = 0 if flow.five_tuple(0) == observation.five_tuple else 1
        checked_ns = known.checked_ns if known else now_ns
        silent = known.silent if known else 0
        self._followed[observation.key] = _Followed(detection, flow, initiator, checked_ns, silent)

    def look(self, now_ns: int, period_ns: int = PERIOD_NS, at_once: int | None = AT_ONCE) -> list[Detection]:
        """Return those that carried more since, of up to `at_once` flows not looked at for `period_ns`."""
        grown: list[Detection] = []
        for _ in range(min(at_once or len(self._followed), len(self._followed))):
            key, followed = next(iter(self._followed.items()))
            if followed.checked_ns + period_ns > now_ns:
                break
            if self._renew(followed):
                grown.append(followed.detection)
            followed.checked_ns = now_ns
            if is_over(followed.flow, now_ns):
                del self._followed[key]
            else:
                self._followed.move_to_end(key)
        return grown

    def latest(self, detection: Detection) -> Detection:
        """Return `detection` with what its flow has carried by now; as it is if the flow is not followed."""
        followed = self._followed.get(detection.observation.key)
        if followed is None:
            return detection
        self._renew(followed)
        return followed.detection

    def is_over(self, key: int, now_ns: int) -> bool:
        """Tell whether a flow will carry no more, as far as is known; what is not followed is over."""
        followed = self._followed.get(key)
        return followed is None or is_over(followed.flow, now_ns)

    def _renew(self, followed: _Followed) -> bool:
        if self.count_apart is not None and not followed.flow.has_left:
            self.count_apart(followed.flow)
        return followed.renew()
