"""The pipeline and the rules together: packets in, detections out."""

from collections.abc import Callable, Iterable

from msgspec.structs import replace

from rules.classify import classify
from rules.ingress import is_candidate
from rules.observation import Observation
from rules.ruleset import Ruleset
from sensor.clients import Clients
from sensor.detection import Detection
from sensor.evidence import collect_evidence
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
        self.clients = Clients()
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
        detections: list[Detection] = []
        for observation in observations:
            self.observations += 1
            self._take(observation, rules, detections)
        return detections

    def _take(self, observation: Observation, rules: Ruleset, detections: list[Detection]) -> None:
        """Classify `observation` beside what its client did, and again what that makes of its client's other flows."""
        beside = self.clients.beside(observation)
        verdict = classify(
            replace(observation, beside=beside) if beside else observation, rules.policy, rules.catalogue
        )
        if verdict.is_stored:
            detections.append(self._follow(Detection(observation, verdict)))
        else:
            self.unknown += 1
            if verdict.service is None and is_candidate(observation, rules.catalogue):
                self.clients.keep(observation)
            else:
                self._let_go(observation)
        if self.clients.learn(observation, verdict):
            for other in self.clients.take_candidates(observation.five_tuple.src, observation.observed_at_ns):
                if other.key != observation.key:
                    self._again(other, rules, detections)

    def _again(self, candidate: Observation, rules: Ruleset, detections: list[Detection]) -> None:
        """Report a candidate if what its client did since is enough."""
        renewed = replace(candidate, beside=self.clients.beside(candidate))
        verdict = classify(renewed, rules.policy, rules.catalogue)
        if verdict.is_stored:
            detections.append(self._follow(Detection(replace(candidate, revision=candidate.revision + 1), verdict)))

    def evidence(self, detection: Detection) -> bytes:
        """Return the few packets that a detection just made rests on as a pcapng file, b"" if none are kept."""
        return collect_evidence(self.pipeline, detection)

    def _let_go(self, observation: Observation) -> None:
        """Keep the packets of what is nothing no longer than more may come of it."""
        flow, dns = self.pipeline.flow(observation.key), observation.dns
        if (dns is not None and dns.is_answered) or (flow is not None and flow.head is None):
            self.pipeline.kept.release(observation.key)
        else:
            self.pipeline.kept.doubt(observation.key)

    def _follow(self, detection: Detection) -> Detection:
        observation, name = detection.observation, detection.verdict.dst_name
        if name is not None:
            self.pipeline.kept.name(observation.key, observation.five_tuple.src, name)
        flow = self.pipeline.flow(detection.observation.key)
        if flow is not None:
            self.watch.add(detection, flow, flow.last_ns)
        return detection
