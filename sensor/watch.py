"""The flows with a detection, followed for as long as they live: what they carry grows after what they are is known."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from msgspec.structs import replace

from sensor.detection import Detection
from sensor.flow import Flow, is_over

PERIOD_NS = 10_000_000_000
MAX_FLOWS = 8_192
AT_ONCE = 512

CountApart = Callable[[Flow], None]


@dataclass(slots=True)
class _Followed:
    detection: Detection
    flow: Flow
    initiator: int
    checked_ns: int

    def renew(self) -> bool:
        """Bring the detection up to what the flow carries; tell whether that has grown."""
        observation = self.detection.observation
        traffic = self.flow.traffic(self.initiator)
        if traffic == observation.traffic:
            return False
        self.detection = replace(self.detection, observation=replace(observation, traffic=traffic))
        return True


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
        self._followed[observation.key] = _Followed(detection, flow, initiator, checked_ns)

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
