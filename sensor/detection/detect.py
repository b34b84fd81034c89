"""The pipeline and the rules together: packets in, detections out."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final

from msgspec.structs import replace

from rules.classification.classify import classify
from rules.classification.fallbacks import find_fallback
from rules.classification.ingress import BEATS_ENOUGH, ingress_name, is_candidate
from rules.classification.interest import Interest
from rules.policy.ruleset import Ruleset
from rules.values.observation import Observation
from rules.values.verdict import Outcome, Role, Verdict
from rules.values.zones import Zones
from sensor.capture.screening.screen import Asked, Screen, ScreenTotals
from sensor.detection.auxiliaries import Auxiliaries
from sensor.detection.candidates import LOOK_NS, Candidate, Candidates
from sensor.detection.clients import Clients
from sensor.detection.detection import Detection
from sensor.detection.evidence import collect_evidence
from sensor.detection.watch import Watch
from sensor.flows.flow import Count
from sensor.packet import Packet
from sensor.pipeline import Pipeline

_PROTOCOL: Final = int(Asked.PROTOCOL)
_QUESTION: Final = int(Asked.QUESTION)

AgentAddresses = Mapping[bytes, tuple[str, str]]  # a service and the name of its agents that has the address


class Detector:
    """Classifies what the pipeline observes under the rules in force at that moment; `watch` follows it.

    `zones` is asked who serves the zones of candidates; `agent_addresses` may be replaced at any time.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        ruleset: Callable[[], Ruleset],
        watch: Watch | None = None,
        zones: Zones | None = None,
    ) -> None:
        self.pipeline = pipeline
        self.watch = watch if watch is not None else Watch()
        self.observations = 0
        self.unknown = 0
        self.clients = Clients()
        self.candidates = Candidates()
        self.auxiliaries = Auxiliaries()
        self.agent_addresses: AgentAddresses = {}
        self._zones = zones
        self._ruleset = ruleset
        self._interest = self._follow_rules(ruleset())
        self._dns_tunnels = 0
        self._screen = pipeline.screen
        if self._screen is not None:
            self._screen.ask = self._is_interesting
            self._tell(self._screen)

    @property
    def screened(self) -> ScreenTotals:
        """Return what the screen passed over."""
        return self._screen.totals() if self._screen is not None else ScreenTotals()

    def feed(self, packets: Iterable[Packet]) -> list[Detection]:
        """Return the detections that `packets` complete, in packet order."""
        self._current()
        found: list[Detection] = []
        for part in _parts(packets):
            found += self._classify(self.pipeline.feed_batch(part))
            if part:
                found += self._look(part[-1].ts_ns) + self._unexplained(self.auxiliaries.take(part[-1].ts_ns))
        return found

    def feed_counted(self, packets: Sequence[Packet], counts: Iterable[tuple[int, Count]]) -> list[Detection]:
        """As `feed`; `counts` are of packets that the source did not hand out, each behind so many of `packets`."""
        found: list[Detection] = []
        at = 0
        for place, counted in counts:
            found += self.feed(packets[at:place])
            self.pipeline.add_count(counted)
            at = place
        return found + self.feed(packets[at:])

    def advance(self, now_ns: int) -> list[Detection]:
        """Return the detections that become due by `now_ns` although no packet came, such as unanswered queries."""
        found = self._classify(self.pipeline.advance(now_ns))
        return found + self._look(now_ns) + self._unexplained(self.auxiliaries.take(now_ns))

    def flush(self) -> list[Detection]:
        """Return what was still waiting for more packets."""
        found = self._classify(self.pipeline.flush())
        return found + self._unexplained(self.auxiliaries.take_all())

    def evidence(self, detection: Detection) -> bytes:
        """Return the few packets that a detection just made rests on as a pcapng file, b"" if none are kept."""
        return collect_evidence(self.pipeline, detection)

    def _classify(self, observations: list[Observation]) -> list[Detection]:
        if not observations:
            return []
        rules = self._current()
        self.observations += len(observations)
        detections: list[Detection] = []
        for observation in observations:
            try:
                self._judge(observation, rules, detections)
            except Exception as error:  # noqa: BLE001 - a loop over what packets show: counted and said, it goes on
                self.pipeline.shed.note(error, b"")
        return detections

    def _judge(self, observation: Observation, rules: Ruleset, detections: list[Detection]) -> None:
        if self._interest.is_possible(observation, is_client_known=observation.five_tuple.src in self.clients):
            self._take(observation, rules, detections)
        else:
            self.unknown += 1
            self.candidates.drop(observation.key)
            self._let_go(observation)

    def _current(self) -> Ruleset:
        """Return the rules in force; the screen hears that others are, or that a DNS tunnel was found."""
        rules, tunnels = self._ruleset(), self.pipeline.dns_tunnels
        if self._interest.ruleset is not rules:
            self._interest = self._follow_rules(rules)
            if self._screen is not None:
                self._tell(self._screen)
        if self._dns_tunnels != tunnels:
            self._dns_tunnels = tunnels
            if self._screen is not None:
                self._screen.ask_again(self.pipeline.tunnel_domains())
        return rules

    def _follow_rules(self, rules: Ruleset) -> Interest:
        """Return what the rules in force from now on speak of; the pipeline hears which look-ups they spare."""
        self.pipeline.spare_lookups(rules.catalogue.lookup_services)
        return Interest(rules)

    def _tell(self, screen: Screen) -> None:
        """Tell the screen which names and addresses the rules in force speak of."""
        names = [*self._interest.ends(), *self.pipeline.tunnel_domains()]
        screen.follow(self._interest.fallback_addresses, names)

    def _is_interesting(self, kind: int, name: str) -> bool:
        """Tell the screen whether something might come of `name`; what is not certain is of interest."""
        if kind == _PROTOCOL:
            return self._interest.has_protocol(name)
        return self._interest.has_name(name) or (kind == _QUESTION and not self.pipeline.is_ordinary(name))

    def _take(self, observation: Observation, rules: Ruleset, detections: list[Detection]) -> None:
        """Classify `observation` beside what its client did, and again what that makes of its client's other flows."""
        if observation.dns is not None and observation.dns.delegations:
            self._learn_zones(observation, rules)
        name = _unlisted_name(observation, rules) if is_candidate(observation) else None
        known = self._in_context(observation, name)
        verdict = classify(known, rules.policy, rules.catalogue)
        if verdict.is_stored:
            detections.append(self._follow(Detection(observation, verdict, rules.basis)))
        else:
            self.unknown += 1
            if known.beside and (fallback := find_fallback(known, rules.catalogue)) is not None:
                self.clients.note(known.five_tuple.src, fallback, known.observed_at_ns)
        if not verdict.is_stored and verdict.role is Role.AUXILIARY and verdict.service is not None:
            self.auxiliaries.hold(observation)
        else:
            self._doubt(observation, verdict, name, rules)
        if self._screen is not None:
            for address in self._interest.fallback_addresses:
                self._screen.mark(observation.five_tuple.src, address)
        if self.clients.learn(observation, verdict):
            for other in self.candidates.of_client(observation.five_tuple.src, observation.observed_at_ns):
                if other.observation.key != observation.key:
                    detections += self._again(other, rules)

    def _in_context(self, observation: Observation, name: str | None) -> Observation:
        """Return the observation with what is known of its client, its address and the zone of its name."""
        beside = self.clients.beside(observation)
        address = self.agent_addresses.get(observation.five_tuple.dst) if self.agent_addresses else None
        delegation = self._delegation(observation, name)
        beats = self.candidates.beats(observation.key)
        if not beside and address is None and delegation is None and not beats:
            return observation
        return replace(observation, beside=beside, agent_address=address, delegation=delegation, beats=beats)

    def _delegation(self, observation: Observation, name: str | None) -> tuple[str, str] | None:
        """Return the zone of the observation's name and a name server of it, if that is a service's."""
        if observation.dns is not None:
            name = observation.dns.qname if observation.dns.delegations else None
        if name is None:
            return None
        source, now_ns = observation.five_tuple.src, observation.observed_at_ns
        if (told := self.clients.zone_of(source, name, now_ns)) is not None:
            return told
        answer = self._zones.find(name, now_ns) if self._zones and observation.dns is None else None
        catalogue = self._ruleset().catalogue
        servers = (server for server in (answer.servers if answer else ()) if catalogue.zone_server(server))
        server = next(servers, None)
        return (answer.zone, server) if answer and server else None

    def _learn_zones(self, observation: Observation, rules: Ruleset) -> None:
        source, now_ns = observation.five_tuple.src, observation.observed_at_ns
        for zone, server in observation.dns.delegations if observation.dns else ():
            if rules.catalogue.zone_server(server) is not None:
                self.clients.learn_zone(source, zone, server, now_ns)

    def _doubt(self, observation: Observation, verdict: Verdict, name: str | None, rules: Ruleset) -> None:
        """Keep what may turn out to be an agent's, and the packets of what is nothing no longer than that."""
        hello = observation.hello
        is_open = verdict.outcome is Outcome.SUSPICIOUS or (not verdict.is_stored and verdict.service is None)
        is_like_an_agent = hello is None or hello.ja4 in rules.catalogue.by_ja4
        if is_open and is_candidate(observation) and (is_like_an_agent or (name is not None and self._zones)):
            self.candidates.keep(observation, verdict, name, self.pipeline.flow(observation.key))
            if not is_like_an_agent:
                self.pipeline.kept.doubt(observation.key)
            return
        self.candidates.drop(observation.key)
        if not verdict.is_stored:
            self._let_go(observation)

    def _again(self, candidate: Candidate, rules: Ruleset) -> list[Detection]:
        """Return what a candidate has become by what is known since, if that is something else."""
        observation = candidate.observation
        verdict = classify(self._in_context(observation, candidate.name), rules.policy, rules.catalogue)
        if not verdict.is_stored or verdict == candidate.verdict:
            return []
        candidate.verdict = verdict
        candidate.observation = replace(observation, revision=observation.revision + 1)
        return [self._follow(Detection(candidate.observation, verdict, rules.basis))]

    def _look(self, now_ns: int) -> list[Detection]:
        """Return what candidates have become by what was answered since, and by how they beat."""
        if not len(self.candidates):
            return []
        renewed = self.candidates.look(now_ns, self.watch.count_apart, BEATS_ENOUGH)
        for name in self._zones.news() if self._zones else ():
            renewed += self.candidates.named(name)
        rules = self._ruleset() if renewed else None
        return [found for row in renewed for found in self._again(row, rules)] if rules else []

    def _unexplained(self, observations: list[Observation]) -> list[Detection]:
        """Return what was fetched as agents do by clients without a sanctioned agent of that service."""
        rules = self._ruleset()
        found = []
        for observation in observations:
            verdict = classify(replace(observation, is_alone=True), rules.policy, rules.catalogue)
            source, now_ns = observation.five_tuple.src, observation.observed_at_ns
            if verdict.is_stored and not self.clients.has_sanctioned(source, verdict.service or "", now_ns):
                found.append(self._follow(Detection(observation, verdict, rules.basis)))
            else:
                self.pipeline.kept.release(observation.key)
        return found

    def _let_go(self, observation: Observation) -> None:
        """Keep the packets of what is nothing no longer than more may come of it."""
        key, dns = observation.key, observation.dns
        if dns is not None:
            is_over = dns.rcode is not None
        else:
            flow = self.pipeline.flow(key)
            is_over = flow is not None and flow.head is None
        if is_over:
            self.pipeline.kept.release(key)
        else:
            self.pipeline.kept.doubt(key)

    def _follow(self, detection: Detection) -> Detection:
        observation, name = detection.observation, detection.verdict.dst_name
        if name is not None:
            self.pipeline.kept.name(observation.key, observation.five_tuple.src, name)
        flow = self.pipeline.flow(detection.observation.key)
        if flow is not None:
            self.watch.add(detection, flow, flow.last_ns)
        return detection


def _unlisted_name(observation: Observation, rules: Ruleset) -> str | None:
    """Return the name that a flow goes to, None where a list or the policy knows it."""
    name = ingress_name(observation)
    if name is None or rules.catalogue.match(name) is not None:
        return None
    return name if rules.policy.sanction_for(name, observation.observed_at_ns) is None else None


def _parts(packets: Iterable[Packet]) -> Iterator[list[Packet]]:
    """Yield the packets in parts of a few seconds, so that beats are seen however many come at once."""
    part = list(packets)
    if not part or part[-1].ts_ns - part[0].ts_ns <= LOOK_NS:
        yield part
        return
    at = 0
    for number, packet in enumerate(part):
        if abs(packet.ts_ns - part[at].ts_ns) > LOOK_NS:
            yield part[at:number]
            at = number
    yield part[at:]
