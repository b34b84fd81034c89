"""Block lists as CrowdSec decisions, for its unchanged bouncers (docs.crowdsec.net, local API: bouncers).

A bouncer asks once for everything (`startup=true`) and then, every few seconds, for what changed since it last asked.
What each key was told last is kept in memory only: a key that is not known, after a restart or a long silence, is told
everything again and every deletion that the kept snapshots know of. Repeating either does no harm: so each change is
told in two answers, for one may be lost on its way, and a deletion with it.
"""

import hashlib
import ipaddress
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain

from rules.lists.blocklist import AddressList, Body, NameList, Scope, Snapshot

MAX_KEYS = 1024
MAX_BODIES = 8
ANSWERS = 2  # that tell of a change
RENEW_S = 86_400.0
DURATION = "168h0m0s"  # the bouncer forgets a decision that is not renewed; deletions are told
ORIGIN = "molecatcher"
MOST_EXPANDED = 256  # bouncers that fill nftables sets drop the mask of a range (cs-firewall-bouncer issue 396)
DEFAULT_SCOPES = frozenset({"ip", "range"})  # a scope that a bouncer does not know spoils its whole batch

Decision = dict[str, object]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a bouncer asks for: scopes, and words that a scenario must or must not contain."""

    scopes: frozenset[str] = DEFAULT_SCOPES
    containing: tuple[str, ...] = ()
    not_containing: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()

    def has(self, decision: Mapping[str, object]) -> bool:
        """Tell whether a decision is asked for."""
        scenario = str(decision["scenario"])
        return (
            str(decision["scope"]).lower() in self.scopes
            and (not self.containing or any(word in scenario for word in self.containing))
            and not any(word in scenario for word in self.not_containing)
            and (not self.origins or ORIGIN in self.origins)
        )


_State = tuple[str, ...]  # the digests of the lists


@dataclass(frozen=True, slots=True)
class _Told:
    """The states of the lists in the last `ANSWERS` to a key, and when it was told everything."""

    states: tuple[_State, ...]
    everything_at_s: float


class DecisionStream:
    """Answers pulls. Holds `MAX_KEYS` keys; the one that pulled longest ago is forgotten first."""

    def __init__(
        self, earlier: Callable[[Snapshot], Iterable[Body]], monotonic_s: Callable[[], float] = time.monotonic
    ) -> None:
        """Take `earlier`, which yields the kept states of a list before the one given."""
        self._earlier = earlier
        self._monotonic_s = monotonic_s
        self._told: OrderedDict[tuple[str, Wanted], _Told] = OrderedDict()
        self._bodies: OrderedDict[str, Body] = OrderedDict()
        self._changing = threading.Lock()

    def pull(
        self, key: str, wanted: Wanted, snapshots: tuple[Snapshot, ...], *, startup: bool
    ) -> tuple[list[Decision], list[Decision]]:
        """Return the new and the deleted decisions for `key`. Costs O(entries) when something changed, else O(1)."""
        with self._changing:
            return self._pull((hashlib.sha256(key.encode()).hexdigest(), wanted), snapshots, startup=startup)

    def _pull(
        self, who: tuple[str, Wanted], snapshots: tuple[Snapshot, ...], *, startup: bool
    ) -> tuple[list[Decision], list[Decision]]:
        told, now_s = self._told.pop(who, None), self._monotonic_s()  # forgotten, should there be no answer
        self._remember(snapshots)
        state, states = tuple(row.digest for row in snapshots), told.states if told else ()
        is_known = bool(states) and all(digest in self._bodies for digest in chain.from_iterable(states))
        is_renewed = startup or told is None or not is_known or now_s - told.everything_at_s >= RENEW_S
        had: list[dict[object, Decision]] = []
        current: dict[object, Decision] = {}
        if is_renewed or set(states) != {state}:
            current = _by_id((row.body for row in snapshots), who[1])
            earlier = () if startup else self._had(states, snapshots, is_known=is_known)
            had = [_by_id(bodies, who[1]) for bodies in earlier]
        kept = (state,) if startup else (*states, state)[-ANSWERS:]
        self._told[who] = _Told(kept, now_s if is_renewed or told is None else told.everything_at_s)
        while len(self._told) > MAX_KEYS:
            self._told.popitem(last=False)
        added = [row for number, row in current.items() if is_renewed or any(number not in each for each in had)]
        gone = {number: row for each in had for number, row in each.items() if number not in current}
        return added, list(gone.values())

    def _had(
        self, states: tuple[_State, ...], snapshots: tuple[Snapshot, ...], *, is_known: bool
    ) -> Iterator[Iterable[Body]]:
        """Yield what the key may have: what it was told, or else all that is kept."""
        if is_known:
            yield from ([self._bodies[digest] for digest in state] for state in dict.fromkeys(states))
        else:
            yield chain.from_iterable(map(self._earlier, snapshots))

    def _remember(self, snapshots: tuple[Snapshot, ...]) -> None:
        """Keep the states in force and the few before them."""
        for snapshot in snapshots:
            self._bodies[snapshot.digest] = snapshot.body
            self._bodies.move_to_end(snapshot.digest)
        while len(self._bodies) > max(MAX_BODIES, 2 * len(snapshots)):
            self._bodies.popitem(last=False)


def decisions(body: Body) -> Iterator[Decision]:
    """Yield a list as decisions; a subtree is its name and `*.` below it."""
    if isinstance(body, AddressList):
        for row in body.blocked:
            for scope, value in _addresses(row.prefix):
                yield _decision(scope, value, row.service)
    for entry in body.blocked if isinstance(body, NameList) else ():
        yield _decision("Domain", entry.name, entry.service)
        if entry.scope is Scope.SUBTREE:
            yield _decision("Domain", f"*.{entry.name}", entry.service)


def _addresses(prefix: str) -> Iterator[tuple[str, str]]:
    network = ipaddress.ip_network(prefix)
    if network.num_addresses > MOST_EXPANDED:
        yield "Range", prefix
    else:
        yield from (("Ip", str(address)) for address in network)


def _decision(scope: str, value: str, service: str) -> Decision:
    identity = hashlib.sha256(f"{scope}\n{value}".encode()).digest()
    return {
        "id": int.from_bytes(identity[:6]),
        "origin": ORIGIN,
        "type": "ban",
        "scope": scope,
        "value": value,
        "duration": DURATION,
        "scenario": f"{ORIGIN}/{service}",
    }


def _by_id(bodies: Iterable[Body], wanted: Wanted) -> dict[object, Decision]:
    return {row["id"]: row for body in bodies for row in decisions(body) if wanted.has(row)}
