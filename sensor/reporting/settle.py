"""One final detection for each flow or DNS transaction, for replay: later revisions replace earlier ones."""

from collections import OrderedDict
from collections.abc import Callable, Iterable
from heapq import heappop, heappush

from sensor.detection.detection import Detection

HORIZON_NS = 5_000_000_000
MAX_HELD = 16_384
RELEASED_KEYS = 1 << 17


class Settler:
    """Holds each detection until its flow is over, and `horizon_ns` of packet time at least; then releases it.

    `latest(detection)` returns it with what was counted by now, `is_over(key, now_ns)` tells that no more will come.
    Detections come out in packet order: by the first packet of their flow or transaction, so that a flow that lives
    long holds back those behind it. One that was made more than a horizon after its first packet (a connection that
    long said nothing) may come behind later ones. Memory: at most `max_held` detections, beyond that the first is
    released early, with what was counted so far, and counted in `released_early`, and the keys of the last 131,072
    released ones (a later revision of those is dropped). A detection costs O(log `max_held`).
    """

    def __init__(
        self,
        horizon_ns: int = HORIZON_NS,
        max_held: int = MAX_HELD,
        *,
        latest: Callable[[Detection], Detection] = lambda detection: detection,
        is_over: Callable[[int, int], bool] = lambda _key, _now_ns: True,
    ) -> None:
        self.released_early = 0
        self._horizon_ns = horizon_ns
        self._latest = latest
        self._is_over = is_over
        self._max_held = max_held
        self._held: dict[int, tuple[int, Detection]] = {}
        self._order: list[tuple[int, int]] = []  # a heap of first packet's time and key, one for each held detection
        self._released: OrderedDict[int, None] = OrderedDict()

    def take(self, detections: Iterable[Detection], now_ns: int) -> list[Detection]:
        """Keep `detections` and return those that are final at packet time `now_ns`."""
        final = []
        for detection in detections:
            key = detection.observation.key
            if key in self._held:
                self._held[key] = (self._held[key][0], detection)
            elif key not in self._released:
                self._held[key] = (now_ns, detection)
                heappush(self._order, (detection.observation.observed_at_ns, key))
                if len(self._held) > self._max_held:
                    self.released_early += 1
                    final.append(self._release())
        while self._order and self._is_final(self._order[0][1], now_ns):
            final.append(self._release())
        return final

    def flush(self) -> list[Detection]:
        """Return everything still held."""
        return [self._release() for _ in range(len(self._order))]

    def _is_final(self, key: int, now_ns: int) -> bool:
        return self._held[key][0] + self._horizon_ns <= now_ns and self._is_over(key, now_ns)

    def _release(self) -> Detection:
        _, key = heappop(self._order)
        _, detection = self._held.pop(key)
        self._released[key] = None
        if len(self._released) > RELEASED_KEYS:
            self._released.popitem(last=False)
        return self._latest(detection)
