"""What was reported and has not left yet.

Most events say something else within a tenth of a second: a query is answered, a connection is made. Only the newest
leaves, and the file of the packets that it rests on is made once, then.
"""

from collections.abc import Iterable

from msgspec.structs import replace

from rules.event import Event
from sensor.detection import Detection
from sensor.evidence import Chosen, choose_packets, write_evidence
from sensor.pipeline import Pipeline


class Gathered:
    """Events, of each the newest report; whoever takes them bounds how many there are."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._events: dict[str, Event] = {}
        self._chosen: dict[str, Chosen] = {}

    def __len__(self) -> int:
        return len(self._events)

    def note_packets(self, event: Event, detection: Detection) -> Event:
        """Choose the packets that a report rests on, in place of those of an earlier one if there are any."""
        chosen = choose_packets(self._pipeline, detection)
        if chosen:
            self._chosen[event.event_id] = chosen
        return event

    def add(self, reports: Iterable[Event]) -> None:
        """Take reports in the order they were made."""
        for event in reports:
            self._events[event.event_id] = event

    def take(self) -> list[Event]:
        """Return all, with their packets, and forget them."""
        events, self._events = self._events, {}
        chosen, self._chosen = self._chosen, {}
        return [
            replace(event, evidence=write_evidence(chosen[event_id])) if event_id in chosen else event
            for event_id, event in events.items()
        ]
