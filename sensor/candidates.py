"""Flows that no list knows and that might yet turn out to be an agent's, by client and by name.

More evidence may come: from what their client does beside them, from who serves the zone of their name, from how they
beat while idle.
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import TypeVar

from rules.values.observation import Observation
from rules.values.verdict import Verdict
from sensor.flow import Flow, is_over
from sensor.heartbeat import Heartbeat

LATELY_NS = 600_000_000_000
MAX_OF_CLIENT = 16
LOOK_NS = 3_000_000_000  # several times between two beats
AT_ONCE = 512

CountApart = Callable[[Flow], None]
K = TypeVar("K")


class Candidate:
    """A flow, what was said of it last, and its beat while it lives."""

    __slots__ = ("flow", "heartbeat", "initiator", "looked_ns", "name", "observation", "verdict")

    def __init__(self, observation: Observation, verdict: Verdict, name: str | None, flow: Flow | None) -> None:
        self.observation = observation
        self.verdict = verdict
        self.name = name
        self.flow = flow
        self.initiator = 0 if flow is None or flow.five_tuple(0) == observation.five_tuple else 1
        self.heartbeat: Heartbeat | None = None
        self.looked_ns = observation.observed_at_ns


class Candidates:
    """At most `limit` flows and sixteen of a client; the oldest goes, of all it is counted in `evicted`.

    A candidate takes about 1.5 kB. All but `look` costs constant time; a look costs some 2 us a flow and what
    `count_apart` takes, for at most 512 flows.
    """

    def __init__(self, limit: int = 4096) -> None:
        self.evicted = 0
        self._limit = limit
        self._rows: OrderedDict[int, Candidate] = OrderedDict()  # by when they were looked at
        self._by_client: dict[bytes, OrderedDict[int, None]] = {}
        self._by_name: dict[str, OrderedDict[int, None]] = {}

    def __len__(self) -> int:
        return len(self._rows)

    def beats(self, key: int) -> int:
        """Return how often in a row the candidate with this key of an observation beat."""
        row = self._rows.get(key)
        return row.heartbeat.beats if row is not None and row.heartbeat is not None else 0

    def keep(self, observation: Observation, verdict: Verdict, name: str | None, flow: Flow | None) -> None:
        """Keep a candidate, or note what is now said of it."""
        key, client = observation.key, observation.five_tuple.src
        known = self._rows.get(key)
        if known is not None and (known.observation.five_tuple.src, known.name) == (client, name):
            known.observation, known.verdict, known.flow = observation, verdict, flow or known.flow
            return
        self.drop(key)
        self._rows[key] = Candidate(observation, verdict, name, flow)
        self._by_client.setdefault(client, OrderedDict())[key] = None
        if name is not None:
            self._by_name.setdefault(name, OrderedDict())[key] = None
        self._make_room(client)

    def drop(self, key: int) -> None:
        """Forget a candidate if it is one."""
        row = self._rows.pop(key, None)
        if row is not None:
            _remove(self._by_client, row.observation.five_tuple.src, key)
            if row.name is not None:
                _remove(self._by_name, row.name, key)

    def of_client(self, source: bytes, now_ns: int) -> list[Candidate]:
        """Return the candidates of a client that began within ten minutes; its others are forgotten."""
        rows = [self._rows[key] for key in self._by_client.get(source, ())]
        for row in rows:
            if now_ns - row.observation.observed_at_ns > LATELY_NS and row.heartbeat is None:
                self.drop(row.observation.key)
        return [row for row in rows if now_ns - row.observation.observed_at_ns <= LATELY_NS]

    def named(self, name: str) -> list[Candidate]:
        """Return the candidates that go to `name`."""
        return [self._rows[key] for key in self._by_name.get(name, ())]

    def look(self, now_ns: int, count_apart: CountApart | None, enough: int) -> list[Candidate]:
        """Return those whose beat has just been steady `enough`, of up to 512 that were not looked at lately."""
        steady = []
        for _ in range(min(AT_ONCE, len(self._rows))):
            key, row = next(iter(self._rows.items()))
            if row.looked_ns + LOOK_NS > now_ns:
                break
            row.looked_ns = now_ns
            self._rows.move_to_end(key)
            if row.flow is None or is_over(row.flow, now_ns):
                if now_ns - row.observation.observed_at_ns > LATELY_NS:
                    self.drop(key)
            elif _beats(row, count_apart) == enough:
                steady.append(row)
        return steady

    def _make_room(self, client: bytes) -> None:
        of_client = self._by_client[client]
        if len(of_client) > MAX_OF_CLIENT:
            self.drop(next(iter(of_client)))
        if len(self._rows) > self._limit:
            self.drop(next(iter(self._rows)))
            self.evicted += 1


def _beats(row: Candidate, count_apart: CountApart | None) -> int:
    """Return how often in a row the flow beat; 0 where there is nothing new."""
    flow = row.flow
    if flow is None:
        return 0
    if count_apart is not None and not flow.has_left:
        count_apart(flow)
    traffic = flow.traffic(row.initiator)
    if row.heartbeat is None:
        row.heartbeat = Heartbeat(traffic)
    before = row.heartbeat.beats
    beats = row.heartbeat.note(traffic)
    return beats if beats != before else 0


def _remove(index: dict[K, OrderedDict[int, None]], key: K, number: int) -> None:
    numbers = index[key]
    del numbers[number]
    if not numbers:
        del index[key]
