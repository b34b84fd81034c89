"""One final detection for each flow or DNS transaction, for replay: later revisions replace earlier ones."""

from collections import OrderedDict
from collections.abc import Iterable

from sensor.detect import Detection

HORIZON_NS = 5_000_000_000
RELEASED_KEYS = 1 << 17


class Settler:
    """Holds each detection for `horizon_ns` of packet time after it was first seen, then releases its last revision.

    Detections come out in the order in which they were first seen. Memory: the detections of one horizon and the keys
    of the last 131,072 released ones (a later revision of those is dropped).
    """

    def __init__(self, horizon_ns: int = HORIZON_NS) -> None:
        self._horizon_ns = horizon_ns
        self._held: OrderedDict[int, tuple[int, Detection]] = OrderedDict()
        self._released: OrderedDict[int, None] = OrderedDict()

    def take(self, detections: Iterable[Detection], now_ns: int) -> list[Detection]:
        """Keep `detections` and return those that are final at packet time `now_ns`."""
        for detection in detections:
            key = detection.observation.key
            if key not in self._released:
                since_ns = self._held[key][0] if key in self._held else now_ns
                self._held[key] = (since_ns, detection)
        due = []
        for key, (since_ns, detection) in self._held.items():
            if since_ns + self._horizon_ns > now_ns:
                break
            due.append((key, detection))
        return [self._release(key, detection) for key, detection in due]

    def flush(self) -> list[Detection]:
        """Return everything still held."""
        return [self._release(key, detection) for key, (_, detection) in list(self._held.items())]

    def _release(self, key: int, detection: Detection) -> Detection:
        del self._held[key]
        self._released[key] = None
        if len(self._released) > RELEASED_KEYS:
            self._released.popitem(last=False)
        return detection
