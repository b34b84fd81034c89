"""What was detected and is not reported yet.

Most observations say something else within a tenth of a second: a query is answered, a connection is made. Only the
newest is reported, with the packets that it rests on: these are chosen at once, since they are kept for a moment only,
and a file is made of them when the report leaves.
"""

from collections.abc import Iterable

from msgspec.structs import replace

from rules.event import Event
from sensor.detection import Detection
from sensor.evidence import Chosen, choose_packets, write_evidence
from sensor.pipeline import Pipeline


class Gathered:
    """Detections, of each observation the newest; whoever takes them bounds how many there are."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._found: dict[int, tuple[Detection, int]] = {}
        self._chosen: dict[int, Chosen] = {}
        self._leaving: dict[int, Chosen] = {}

    def __len__(self) -> int:
        return len(self._found)

    def add(self, detections: Iterable[Detection], now_ns: int) -> None:
        """Take detections that were just made, in their order."""
        for key, detection in {each.observation.key: each for each in detections}.items():
            self._found[key] = detection, now_ns
            chosen = choose_packets(self._pipeline, detection)
            if chosen:
                self._chosen[key] = chosen

    def take(self) -> list[tuple[Detection, int]]:
        """Return all, each with the time at which it was added, and forget them; their packets at the next call."""
        found, self._found = self._found, {}
        self._leaving, self._chosen = self._chosen, {}
        return list(found.values())

    def with_packets(self, event: Event, detection: Detection) -> Event:
        """Return the report of a detection that was taken with a file of the packets it rests on, if there are any."""
        return replace(event, evidence=write_evidence(self._leaving.get(detection.observation.key, [])))
