"""The pipeline and the rules together: packets in, detections out."""

from collections.abc import Callable, Iterable

import msgspec

from rules.classify import classify
from rules.observation import Observation
from rules.ruleset import Ruleset
from rules.verdict import Verdict
from sensor.packet import Packet
from sensor.pipeline import Pipeline


class Detection(msgspec.Struct, frozen=True, gc=False):
    """An observation with its verdict; `observation.key` and `.revision` say what it replaces."""

    observation: Observation
    verdict: Verdict


class Detector:
    """Classifies what the pipeline observes under the rules in force at that moment."""

    def __init__(self, pipeline: Pipeline, ruleset: Callable[[], Ruleset]) -> None:
        self.pipeline = pipeline
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
                detections.append(Detection(observation, verdict))
            else:
                self.unknown += 1
        return detections
