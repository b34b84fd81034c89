"""What each client did with tunnel services lately, and which zones it was told that services serve.

A verdict on one flow may rest on what the same client did beside it, before or after: agents fetch updates and
revocation lists, some before they dial and some after.
"""

from collections import OrderedDict
from typing import Final

from rules.matching.names import ancestors
from rules.values.observation import Beside, BesideKind, Observation
from rules.values.verdict import Outcome, Role, Verdict

LATELY_NS = 600_000_000_000
# An agent that was seen within a week explains what its client fetches for it: many stay connected for days, and ask
# for updates all the while.
SANCTIONED_NS = 7 * 86_400_000_000_000
MAX_BESIDE = 16  # services and kinds of one client
MAX_ZONES = 16  # of one client
# Members of enumerations, bound once: looking one up costs a multiple.
_BESIDE_SANCTIONED: Final = BesideKind.SANCTIONED
_SANCTIONED: Final = Outcome.SANCTIONED
_UNSANCTIONED: Final = Outcome.UNSANCTIONED
_AUXILIARY: Final = Role.AUXILIARY


class _Client:
    __slots__ = ("beside", "zones")

    def __init__(self) -> None:
        self.beside: OrderedDict[tuple[str, BesideKind], tuple[str, int]] = OrderedDict()
        self.zones: dict[str, tuple[str, int]] = {}  # with a name server, and when


class Clients:
    """At most `limit` clients, the one heard of least recently goes and is counted in `evicted`; ten minutes of each.

    A client takes about 1 kB, at most 10 kB. Clients that have nothing to do with tunnels are not in it.
    """

    def __init__(self, limit: int = 4096) -> None:
        self.evicted = 0
        self._limit = limit
        self._clients: OrderedDict[bytes, _Client] = OrderedDict()

    def __len__(self) -> int:
        return len(self._clients)

    def __contains__(self, source: bytes) -> bool:
        """Tell whether anything is known of a client."""
        return source in self._clients

    def beside(self, observation: Observation) -> tuple[Beside, ...]:
        """Return what the observation's client did in ten minutes before it, and its sanctioned agents of a week."""
        client = self._clients.get(observation.five_tuple.src)
        if client is None:
            return ()
        now_ns = observation.observed_at_ns
        return tuple(
            Beside(service, kind, name)
            for (service, kind), (name, at_ns) in client.beside.items()
            if now_ns - at_ns <= (SANCTIONED_NS if kind is _BESIDE_SANCTIONED else LATELY_NS)
        )

    def has_sanctioned(self, source: bytes, service: str, now_ns: int) -> bool:
        """Tell whether a sanctioned agent of `service` was seen of a client within a week before `now_ns`, or since."""
        client = self._clients.get(source)
        known = client.beside.get((service, BesideKind.SANCTIONED)) if client is not None else None
        return known is not None and now_ns - known[1] <= SANCTIONED_NS

    def learn(self, observation: Observation, verdict: Verdict) -> bool:
        """Note what the verdict says of the client; tell whether that is news which may change what else it did."""
        kind = _kind(verdict)
        if kind is None or verdict.service is None:
            return False
        source, now_ns = observation.five_tuple.src, observation.observed_at_ns
        return self.note(source, Beside(verdict.service, kind, verdict.dst_name or ""), now_ns)

    def note(self, source: bytes, seen: Beside, now_ns: int) -> bool:
        """Note what a client was seen to do; tell whether it is news."""
        client = self._client(source)
        key = seen.service, seen.kind
        is_news = key not in client.beside
        client.beside[key] = seen.name, now_ns
        client.beside.move_to_end(key)
        if len(client.beside) > MAX_BESIDE:
            client.beside.popitem(last=False)
        return is_news

    def learn_zone(self, source: bytes, zone: str, server: str, now_ns: int) -> None:
        """Note that a client was told of a service's name server for a zone."""
        zones = self._client(source).zones
        zones.pop(zone, None)
        zones[zone] = server, now_ns
        if len(zones) > MAX_ZONES:
            del zones[next(iter(zones))]

    def zone_of(self, source: bytes, name: str, now_ns: int) -> tuple[str, str] | None:
        """Return the zone at or above `name` of which the client was told lately, and the name server."""
        client = self._clients.get(source)
        for zone in ancestors(name) if client is not None and client.zones else ():
            told = client.zones.get(zone) if client is not None else None
            if told is not None and now_ns - told[1] <= LATELY_NS:
                return zone, told[0]
        return None

    def _client(self, source: bytes) -> _Client:
        client = self._clients.get(source)
        if client is None:
            client = self._clients[source] = _Client()
            if len(self._clients) > self._limit:
                self._clients.popitem(last=False)
                self.evicted += 1
        self._clients.move_to_end(source)
        return client


def _kind(verdict: Verdict) -> BesideKind | None:
    if verdict.outcome is _SANCTIONED:
        return _BESIDE_SANCTIONED
    if verdict.role is _AUXILIARY:
        return BesideKind.AUXILIARY
    is_agent = verdict.outcome is _UNSANCTIONED and verdict.role in (Role.AGENT, Role.UNCLEAR)
    return BesideKind.AGENT if is_agent else None
