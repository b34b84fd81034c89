"""Lines of proxy logs to detections and events: what `molecatcher ingest-log` does, without files and terminals."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from hashlib import sha256

from rules.classification.classify import classify
from rules.policy.ruleset import Ruleset
from rules.values.event import Event, Origin, uuid7
from rules.values.observation import Observation
from sensor.detection import Detection
from sensor.errors import MalformedLogLine
from sensor.proxy_log.observe import observe
from sensor.proxy_log.read import read_line
from sensor.report import WINDOW_NS, Reporter

EXAMPLE_OCTETS = 80


@dataclass(slots=True)
class IngestSummary:
    """What was read: `malformed` counts lines by the reason why they say nothing, `example` is the last of them."""

    lines: int = 0
    verdicts: Counter[str] = field(default_factory=Counter)
    malformed: Counter[str] = field(default_factory=Counter)
    example: bytes = b""


class Ingest:
    """Classifies and aggregates records as the sensor does, by the times in the log.

    An event's id follows from its first line, so that a log which is read again gives the same events. State is the
    reporter's: at most 65,536 windows.
    """

    def __init__(self, origin: Origin, ruleset: Callable[[], Ruleset], window_ns: int = WINDOW_NS) -> None:
        self.summary = IngestSummary()
        self._origin = origin
        self._ruleset = ruleset
        self._reporter = Reporter(origin, window_ns, make_id=self._event_id)
        self._key = 0
        self._now_ns = 0

    def read(self, lines: Iterable[bytes], source: str) -> tuple[list[Detection], list[Event]]:
        """Return the detections in `lines` of the log `source`, and the events that are to be stored."""
        detections, events = [], []
        rules = self._ruleset()
        for line in lines:
            observation = self._observe(line, source)
            if observation is None:
                continue
            verdict = classify(observation, rules.policy, rules.catalogue)
            if verdict.is_stored:
                self.summary.verdicts[verdict.outcome.value] += 1
                detection = Detection(observation, verdict, rules.basis)
                detections.append(detection)
                events += self._reporter.take([detection], self._now_ns)
        return detections, [*events, *self._reporter.expire(self._now_ns)]

    def pass_over_too_long(self, count: int = 1) -> None:
        """Count lines that were not read because nothing that long is a line of a log."""
        self.summary.malformed["too long for a line"] += count

    def flush(self) -> list[Event]:
        """Return the counters of every open window and close it."""
        return self._reporter.flush()

    def _observe(self, line: bytes, source: str) -> Observation | None:
        self.summary.lines += 1
        try:
            record = read_line(line)
        except MalformedLogLine as error:
            self.summary.malformed[error.reason] += 1
            self.summary.example = line[:EXAMPLE_OCTETS]
            return None
        self._key += 1
        self._now_ns = max(self._now_ns, record.ended_ns)
        return observe(record, self._key, source)

    def _event_id(self, detection: Detection) -> str:
        observation = detection.observation
        flow = observation.five_tuple
        said = (self._origin.sensor_id, observation.interface, observation.observed_at_ns, flow, observation.indicators)
        digest = sha256(repr(said).encode()).digest()
        return uuid7(observation.observed_at_ns, int.from_bytes(digest))
