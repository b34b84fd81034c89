"""Look-ups of updates and revocation lists, held until it is known whether a sanctioned agent explains them.

Agents fetch those when they start, some before they dial.
"""

from collections import OrderedDict

from rules.values.observation import Observation

HOLD_NS = 60_000_000_000


class Auxiliaries:
    """At most `limit` observations of a minute, in the order they were held; the oldest goes (counted in `evicted`)."""

    def __init__(self, limit: int = 4096) -> None:
        self.evicted = 0
        self._limit = limit
        self._held: OrderedDict[int, Observation] = OrderedDict()

    def __len__(self) -> int:
        return len(self._held)

    def hold(self, observation: Observation) -> None:
        """Hold an observation, or the newest revision of one that is held."""
        self._held[observation.key] = observation
        if len(self._held) > self._limit:
            self._held.popitem(last=False)
            self.evicted += 1

    def take(self, now_ns: int) -> list[Observation]:
        """Return those that began a minute ago; they are no longer held."""
        found = []
        while self._held:
            key, oldest = next(iter(self._held.items()))
            if oldest.observed_at_ns + HOLD_NS > now_ns:
                break
            found.append(self._held.pop(key))
        return found

    def take_all(self) -> list[Observation]:
        """Return all; none is held any longer."""
        found = list(self._held.values())
        self._held.clear()
        return found
