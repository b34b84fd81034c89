"""Capture files through the whole pipeline: each flow and DNS transaction that the rules speak of, once."""

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

from molecatcher.recordings.log_follower import BEGINNING_OCTETS
from rules.policy.ruleset import Ruleset
from rules.values.event import Event, Origin, make_event, uuid7
from sensor.capture.faults import Faults
from sensor.capture.offline.file import CaptureFile, open_capture
from sensor.capture.screening.choice import make_screen
from sensor.capture.screening.screen import Screen
from sensor.detection.detect import Detector
from sensor.detection.detection import Detection
from sensor.detection.watch import PERIOD_NS, Watch
from sensor.errors import MalformedCapture
from sensor.packet import Packet
from sensor.pipeline import Limits, Pipeline
from sensor.reporting.report import Reporter
from sensor.reporting.settle import Settler

if TYPE_CHECKING:
    from db.store import Store


WATCHED_FLOWS = 65_536
MAX_EVIDENCE = 4096


@dataclass(slots=True)
class Summary:
    """What a replay saw; `failures`: what could not be read, and which file it is in."""

    packets: int = 0
    copies: int = 0
    verdicts: Counter[str] = field(default_factory=Counter)
    malformed: Counter[str] = field(default_factory=Counter)
    warnings: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


class Replay:
    """Plays files under one ruleset. Memory stays that of the pipeline's tables whatever the size of the file.

    What is stored has an id that follows from the file's beginning, the flow and the verdict: the same file again, or
    a copy of it, adds nothing; one that has grown adds its new flows and brings the others up to date, other rules add
    what they judge otherwise.

    With `keeps_packets` events have the packets that decided: those stored, and those yielded, as long as no more than
    4,096 detections wait for the end of their flow.
    """

    def __init__(
        self,
        ruleset: Ruleset,
        store: "Store | None" = None,
        window_ns: int = 60_000_000_000,
        *,
        keeps_packets: bool = False,
    ) -> None:
        self.summary = Summary()
        self._ruleset = ruleset
        self._store = store
        self._window_ns = window_ns
        self._limits = Limits() if keeps_packets else Limits(kept_octets=0)
        self._evidence: OrderedDict[int, bytes] = OrderedDict()

    def play(self, path: str, on_progress: Callable[[int, int], None] = lambda _done, _size: None) -> Iterator[Event]:
        """Yield the final detections of one file; `on_progress` is told octets read and the size of the file.

        Raises:
            CaptureError: the file cannot be opened or is not a capture.
        """
        try:
            screen = make_screen()
            with open_capture(path, heads_only=True, screen=screen) as source:
                yield from self._play(source, path, on_progress, screen)
                self._tell_unread(source, path)
        except MalformedCapture as error:  # its very beginning
            self._tell_damage(path, error)

    def _tell_unread(self, source: CaptureFile, path: str) -> None:
        if source.truncated:
            self.summary.warnings.append(f"{path} ends within a record: everything before it was read")
        for link_type in source.unread_link_types:
            self.summary.failures.append(f"{path} has packets of link type {link_type}, which are not read")

    def _tell_fault(self, path: str, error: Exception) -> None:
        self.summary.warnings.append(f"{path} was read whole, slower than it can be after an error: report {error!r}")

    def _tell_shed(self, path: str, shed: Faults) -> None:
        reason = repr(shed.first[0]) if shed.first is not None else ""
        self.summary.failures.append(f"{path} has {shed.count} packets that the program failed on: report {reason}")

    def _tell_damage(self, path: str, error: MalformedCapture) -> None:
        self.summary.failures.append(f"{path} is damaged ({error}): everything before that was read")

    def _play(
        self, source: CaptureFile, path: str, on_progress: Callable[[int, int], None], screen: Screen | None
    ) -> Iterator[Event]:
        origin = Origin(f"replay:{Path(path).name}")
        watch = Watch(source.count_apart, WATCHED_FLOWS)
        detector = Detector(Pipeline(self._limits, screen=screen), lambda: self._ruleset, watch)
        make_id = partial(_event_id, _beginning(path))
        reporter = Reporter(origin, self._window_ns, make_id=make_id, completed=self._with_evidence)
        settler = Settler(latest=watch.latest, is_over=watch.is_over)
        now_ns = 0
        for packets in self._batches(source, path):
            now_ns = max(now_ns, source.last_ns)
            found = detector.feed_counted(packets, source.counts) + detector.advance(source.last_ns)
            self._keep_packets(detector, found)
            reports = reporter.take(found, now_ns)
            grown = watch.look(now_ns, 0 if source.is_back else PERIOD_NS, at_once=None)
            reporter.update(grown)
            self._keep([*reports, *reporter.expire(now_ns)])
            yield from self._final(settler.take(found + grown, now_ns), origin)
            if source.progress is not None:
                on_progress(*source.progress)
        found = detector.flush()
        self._keep_packets(detector, found)
        reports = reporter.take(found, now_ns)
        grown = watch.look(now_ns, 0, at_once=None)
        reporter.update(grown)
        self._keep([*reports, *reporter.flush()])
        yield from self._final([*settler.take(found + grown, now_ns), *settler.flush()], origin)
        self._count(detector)
        if (shed := detector.pipeline.shed).first is not None:
            self._tell_shed(path, shed)
        if screen is not None and screen.faults.first is not None:
            self._tell_fault(path, screen.faults.first[0])
        self.summary.packets += source.passed_over + source.copies
        self.summary.copies += source.copies

    def _batches(self, source: CaptureFile, path: str) -> Iterator[list[Packet]]:
        try:
            while (packets := source.read()) is not None:
                yield packets
        except MalformedCapture as error:
            self._tell_damage(path, error)

    def _keep_packets(self, detector: Detector, found: list[Detection]) -> None:
        """Keep what each detection rests on, until it is final."""
        if not self._limits.kept_octets:
            return
        for detection in found:
            self._evidence[detection.observation.key] = detector.evidence(detection)
            if len(self._evidence) > MAX_EVIDENCE:
                self._evidence.popitem(last=False)

    def _with_evidence(self, event: Event, detection: Detection) -> Event:
        return replace(event, evidence=self._evidence.get(detection.observation.key, b""))

    def _keep(self, events: list[Event]) -> None:
        if self._store is not None and events:
            self._store.append(events, is_retold=True)

    def _final(self, detections: list[Detection], origin: Origin) -> Iterator[Event]:
        for detection in detections:
            self.summary.verdicts[detection.verdict.outcome.value] += 1
            observation = detection.observation
            event_id = uuid7(observation.observed_at_ns)
            event = make_event(observation, detection.verdict, event_id, origin, detection.basis)
            yield replace(event, evidence=self._evidence.pop(observation.key, b""))

    def _count(self, detector: Detector) -> None:
        counters = detector.pipeline.counters
        self.summary.packets += counters.packets
        self.summary.malformed.update(counters.malformed)


def _beginning(path: str) -> bytes:
    """Return the first octets of a file on disk; what comes by a pipe can be read only once."""
    if not Path(path).is_file():
        return b""
    with Path(path).open("rb") as file:
        return file.read(BEGINNING_OCTETS)


def _event_id(beginning: bytes, detection: Detection) -> str:
    observation, verdict = detection.observation, detection.verdict
    asked = (observation.dns.qname, observation.dns.qtype) if observation.dns else ()
    flow = (observation.kind, observation.observed_at_ns, observation.five_tuple, asked)
    said = (beginning, flow, verdict.outcome, verdict.service, verdict.role, verdict.dst_name)
    return uuid7(observation.observed_at_ns, int.from_bytes(sha256(repr(said).encode()).digest()))
