"""The pipeline and the rules together: packets in, detections out."""

from collections.abc import Callable, Iterable

from rules.classify import classify
from rules.observation import Observation
from rules.ruleset import Ruleset
from sensor.detection import Detection
from sensor.packet import Packet
from sensor.pipeline import Pipeline
from sensor.watch import Watch


class Detector:
    """Classifies what the pipeline observes under the rules in force at that moment; `watch` follows it."""

    def __init__(self, pipeline: Pipeline, ruleset: Callable[[], Ruleset], watch: Watch | None = None) -> None:
        self.pipeline = pipeline
        self.watch = watch if watch is not None else Watch()
        self.observations = 0
        self.unknown = 0
        self._ruleset = ruleset

    def feed(self, packets: Iterable[Packet]) -> list[Detection]:
        """Return the detections that `packets` complete, in packet order."""
        return self._classify(self.pipeline.feed_batch(packets))

    def advance(self, now_ns: int) -> list[Detection]:
        """Return the detections that become due by `now_ns` although no packet came, such as unanswered queries."""
        return self._classify(self.pipeline.advance(now_ns))

    def flush(self) -> list[Detection]:
        """Return what was still waiting for more packets."""
        return self._classify(self.pipeline.flush())

    def _classify(self, observations: list[Observation]) -> list[Detection]:
        if not observations:
            return []
        rules = self._ruleset()
        detections = []
        for observation in observations:
            self.observations += 1
            verdict = classify(observation, rules.policy, rules.catalogue)
            if verdict.is_stored:
                detections.append(self._follow(Detection(observation, verdict)))
            else:
                self.unknown += 1
        return detections

    def _follow(self, detection: Detection) -> Detection:
        flow = self.pipeline.flow(detection.observation.key)
        if flow is not None:
            self.watch.add(detection, flow, flow.last_ns)
        return detection
