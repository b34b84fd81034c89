"""What was detected and is not reported yet.

Most observations say something else within a tenth of a second: a query is answered, a connection is made. Only the
newest is reported, with the packets that it rests on: these are chosen at once, since they are kept for a moment only,
and a file is made of them when the report leaves.
"""

from collections.abc import Collection

from msgspec.structs import replace

from rules.values.event import Event
from sensor.detection import Detection
from sensor.evidence import Chosen, choose_packets, write_evidence
from sensor.pipeline import Pipeline


class Gathered:
    """Detections, of each observation the newest, in the order in which they were made.

    Whoever takes them bounds how many there are.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._found: dict[int, tuple[Detection, int]] = {}
        self._chosen: dict[int, Chosen] = {}
        self._leaving: dict[int, Chosen] = {}

    def __len__(self) -> int:
        return len(self._found)

    def add(self, detections: Collection[Detection], now_ns: int) -> None:
        """Take detections that were just made, in their order."""
        for detection in detections:
            self._found.pop(detection.observation.key, None)  # what an event says is what was found last, of any flow
            self._found[detection.observation.key] = detection, now_ns
        for key in {each.observation.key for each in detections}:
            chosen = choose_packets(self._pipeline, self._found[key][0])
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
