"""Asks who serves the zones of names that the sensor wants to know of: in a thread, slowly, each once in a while."""

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence

from dns.exception import DNSException
from dns.name import from_text

from molecatcher.background import BackgroundLoop
from molecatcher.names.resolve import NameResolver, NameServers
from molecatcher.shared_file import SharedFile
from rules.matching.names import ancestors
from rules.matching.public_suffix import is_registry_suffix
from rules.values.zones import ZoneAnswer

MAX_ANSWERS = 4096
MAX_STEPS = 8  # labels above a registered domain that are asked for
LOOK_S = 1.0
PAUSE_S = 0.2  # between two questions
SHORTEST_S, LONGEST_S = 300, 21_600
NO_ZONE_S = 3600
FAILED_S = 60
_S = 1_000_000_000


class ZoneChecks(BackgroundLoop):
    """Answers of both kinds are kept, 4,096 at most, and asked for again when they are old; five questions a second.

    `asked` and `failed` count questions to the resolver.
    """

    def __init__(
        self,
        questions: Sequence[SharedFile[list[str]]],
        answers: SharedFile[list[ZoneAnswer]],
        resolver: NameResolver,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        super().__init__("zones", LOOK_S)
        self.asked = 0
        self.failed = 0
        self._questions = questions
        self._file = answers
        self._resolver = resolver
        self._now_ns = now_ns
        self._answers: OrderedDict[str, ZoneAnswer] = OrderedDict()
        self._zones: OrderedDict[str, tuple[NameServers, int]] = OrderedDict()  # and until when
        self._wanted: dict[int, list[str]] = {}  # by number of the file

    def start(self) -> None:
        """Take up the answers of an earlier run and begin."""
        for answer in self._file.poll() or ():
            self._keep(answer)
        super().start()

    def step(self) -> float:
        """Check, and again in a second."""
        self.check()
        return LOOK_S

    def check(self) -> None:
        """Answer what is asked for and not known; write the answers down after each."""
        for number, questions in enumerate(self._questions):
            if (wanted := questions.poll()) is not None:
                self._wanted[number] = wanted
        for name in sorted({name for wanted in self._wanted.values() for name in wanted}):
            known = self._answers.get(name)
            if known is not None and known.until_ns > self._now_ns():
                continue
            if self.is_stopping:
                return
            self._keep(self._find(name))
            self._file.write(list(self._answers.values()))

    def _keep(self, answer: ZoneAnswer) -> None:
        self._answers[answer.name] = answer
        self._answers.move_to_end(answer.name)
        if len(self._answers) > MAX_ANSWERS:
            self._answers.popitem(last=False)

    def _find(self, name: str) -> ZoneAnswer:
        """Return the closest zone at or above `name` below a registry's, as the resolver has it."""
        for zone in _steps(name):
            servers = self._servers(zone)
            if servers is None:
                return ZoneAnswer(name, until_ns=self._now_ns() + FAILED_S * _S)
            if servers.names:
                holds_s = min(max(servers.ttl_s, SHORTEST_S), LONGEST_S)
                return ZoneAnswer(name, zone, servers.names, self._now_ns() + holds_s * _S)
        return ZoneAnswer(name, until_ns=self._now_ns() + NO_ZONE_S * _S)

    def _servers(self, zone: str) -> NameServers | None:
        known = self._zones.get(zone)
        if known is not None and known[1] > self._now_ns():
            return known[0]
        self.rest(PAUSE_S if self.asked else 0)
        self.asked += 1
        servers = self._resolver.name_servers(zone)
        if servers is None:
            self.failed += 1
            return None
        self._zones[zone] = servers, self._now_ns() + SHORTEST_S * _S
        self._zones.move_to_end(zone)
        if len(self._zones) > MAX_ANSWERS:
            self._zones.popitem(last=False)
        return servers


def _steps(name: str) -> list[str]:
    """Return `name` and the names above it that may be zones of somebody's own, the longest first."""
    try:
        from_text(name)
    except DNSException:
        return []
    above = [zone for zone in ancestors(name) if zone and "." in zone and not is_registry_suffix(zone)]
    return above[-MAX_STEPS:]
