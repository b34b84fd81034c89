"""What names resolve to, and the address lists that follow from it under given rules at a given time."""

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import chain

from db.lists.values import Resolution
from db.store import Store
from molecatcher.lists.believed_answers import believable, too_few, unresolved
from molecatcher.names.resolve import NameResolver
from molecatcher.shared_file import SharedFile
from rules.catalogue.catalogue import Network
from rules.lists.address_building import agent_addresses, agent_names, build_addresses, names_to_resolve, names_to_spare
from rules.lists.blocklist import AddressList
from rules.lists.building import is_among, protected_names
from rules.policy.profiles import Profile
from rules.policy.ruleset import Ruleset
from rules.values.verdict import Outcome

OBSERVED_FOR_NS = 30 * 86_400 * 1_000_000_000
BELIEVED_ANSWER_NS = 7 * 86_400 * 1_000_000_000  # so long a name that cannot be resolved keeps its last addresses
MOST_AGENT_ADDRESSES = 8_192


@dataclass(frozen=True, slots=True)
class Lookups:
    """What is known at a moment, under the rules of that moment.

    Args:
        rules: catalogue and policy.
        now_ns: the moment.
        answers: the last good answer by name.
        observed: addresses that sanctioned agents were seen at lately.
    """

    rules: Ruleset
    now_ns: int
    answers: Mapping[str, Resolution]
    observed: frozenset[str]

    def build(self, profile: Profile) -> AddressList:
        """Return the addresses to block as far as names are known, none that a sanctioned agent was seen to use."""
        since_ns = self.now_ns - BELIEVED_ANSWER_NS
        resolved = {name: row.addresses for name, row in self.answers.items() if row.resolved_at_ns >= since_ns}
        catalogue, policy = self.rules.catalogue, self.rules.policy
        return build_addresses(
            catalogue, policy, self.now_ns, profile, resolved=resolved, sanctioned=self._spared_addresses()
        )

    def spared_networks(self) -> tuple[Network, ...]:
        """Return the networks that no list may hit."""
        addresses = map(ipaddress.ip_network, self._spared_addresses())
        return (*self.rules.policy.spared_networks(self.now_ns), *addresses)

    def unresolved(self) -> str:
        """Return why sanctioned addresses cannot be told from others, an empty text if they can."""
        sanctioned = (sanction.domain for sanction in self.rules.policy.active_sanctions(self.now_ns))
        return unresolved(self.answers, sanctioned)

    def too_few(self, profile: Profile) -> str:
        """Return why the answers do not make the list of a profile, an empty text if they do."""
        return too_few(self.answers, names_to_resolve(self.rules.catalogue, self.rules.policy, self.now_ns, profile))

    def agents(self) -> dict[str, tuple[str, str]]:
        """Return the addresses that agents' names resolve to, each with its service and such a name."""
        resolved = {name: answer.addresses for name, answer in self.answers.items()}
        found = agent_addresses(self.rules.catalogue, self.rules.policy, resolved, self.now_ns)
        return dict(sorted(found.items())[:MOST_AGENT_ADDRESSES])

    def _spared_addresses(self) -> set[str]:
        """Return the addresses that spared names resolve to, and those that sanctioned ones were seen at."""
        spared, names = set(self.observed), protected_names(self.rules.catalogue, self.rules.policy, self.now_ns)
        return spared.union(*(row.addresses for name, row in self.answers.items() if is_among(name, names)))


class NameLookups:
    """Resolves names, and keeps what they resolved to in the database.

    `agents` is where the sensor finds the addresses that agents' names resolve to; it recognises flows to them.
    """

    def __init__(
        self, store: Store, resolver: NameResolver, agents: SharedFile[dict[str, tuple[str, str]]] | None = None
    ) -> None:
        self._store = store
        self._resolver = resolver
        self._agents = agents
        self._observed: frozenset[str] = frozenset()

    @property
    def shortest_ttl_s(self) -> int | None:
        """Return how long all of the last answers hold, None when no name had an address."""
        return self._resolver.shortest_ttl_s

    def look(self, now_ns: int) -> None:
        """Find out at which addresses sanctioned agents were seen lately."""
        self._observed = self._store.observed_addresses(Outcome.SANCTIONED, now_ns - OBSERVED_FOR_NS)

    def known(self, rules: Ruleset, now_ns: int) -> Lookups:
        """Return what is known; where agents were seen is as of the last look."""
        answers = {answer.name: answer for answer in self._store.resolutions()}
        return Lookups(rules, now_ns, answers, self._observed)

    def resolve(self, rules: Ruleset, profiles: Iterable[Profile], now_ns: int) -> None:
        """Ask for every name of these profiles, of sanctioned agents and of those to be recognised."""
        catalogue, policy = rules.catalogue, rules.policy
        names = [
            *chain.from_iterable(names_to_resolve(catalogue, policy, now_ns, profile) for profile in profiles),
            *names_to_spare(catalogue, policy, now_ns),
            *self._observed_names(rules, now_ns),
            *agent_names(catalogue, policy),
        ]
        known = self.known(rules, now_ns).answers
        self._store.save_resolution(*believable(known, self._resolver.resolve(names)))
        if self._agents is not None:
            self._agents.write(self.known(rules, now_ns).agents())

    def _observed_names(self, rules: Ruleset, now_ns: int) -> set[str]:
        """Return the sanctioned names that agents were seen dialling, such as regional ones below the domain.

        Anybody inside can make up such names, also ones that never resolve: so they hold nothing back. The addresses
        that were seen with them are spared anyway.
        """
        seen = self._store.observed_names(Outcome.SANCTIONED, now_ns - OBSERVED_FOR_NS)
        return {name for name in seen if rules.policy.sanction_for(name, now_ns) is not None}
