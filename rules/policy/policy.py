"""The policy file: what the organisation sanctioned, excepted and decided (TOML, unknown keys refused).

These are values; `rules.policy.reader` makes them of text. A reload replaces the reference to a policy.
"""

import ipaddress
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from enum import StrEnum

from rules.catalogue.catalogue import Network
from rules.catalogue.service import Service
from rules.matching.names import ancestors, fold, is_at_or_below
from rules.policy.profiles import BUILT_IN, Profile
from rules.values.source import NOBODY, Source
from rules.values.verdict import Decision

NS_PER_S = 1_000_000_000
DAY_NS = 86_400 * NS_PER_S
WIDEST = {4: 8, 6: 19}  # prefix lengths by IP version: no list holds anything wider


class PolicyOrigin(StrEnum):
    """Where an entry of the policy in force stands."""

    FILE = "file"
    DATABASE = "database"


@dataclass(frozen=True, slots=True)
class Sanction:
    """A sanctioned ingress: `domain` and every name below it, through the day `expires`."""

    domain: str
    service: str
    owner: str
    reason: str
    expires: date | None = None
    addresses: tuple[Network, ...] = ()
    id: str = ""  # of one that was made over the API
    origin: PolicyOrigin = PolicyOrigin.FILE

    def is_active(self, now_ns: int) -> bool:
        """Tell whether the sanction holds at `now_ns`."""
        return self.expires is None or day_of(now_ns) <= self.expires

    def covers_address(self, packed: bytes) -> bool:
        """Tell whether a packed address is inside the pin; without a pin every address is."""
        return not self.addresses or _is_inside(packed, self.addresses)


@dataclass(frozen=True, slots=True)
class PolicyException:
    """Those who may use a service (or a category of services) for a while.

    `sources` are networks, none of them means any; `who` has, for each field of `rules.values.source.Source` that the
    file names, the values that it may have. All that is named must hold.
    """

    id: str
    sources: tuple[Network, ...]
    service: str
    owner: str
    reason: str
    expires: date | None = None
    who: tuple[tuple[str, frozenset[str]], ...] = ()
    origin: PolicyOrigin = PolicyOrigin.FILE

    def is_active(self, now_ns: int) -> bool:
        """Tell whether the exception holds at `now_ns`."""
        return self.expires is None or day_of(now_ns) <= self.expires

    def covers(self, source: bytes, service: Service, now_ns: int, who: Source = NOBODY) -> bool:
        """Tell whether `source` (packed), which is `who`, may use `service` at `now_ns`."""
        return (
            self.service in (service.id, service.category)
            and self.is_active(now_ns)
            and (not self.sources or _is_inside(source, self.sources))
            and all(_selected(who, field_name) in values for field_name, values in self.who)
        )

    def covers_network(self, network: Network, service: Service, now_ns: int) -> bool:
        """Tell whether everybody in `network` may use `service`."""
        return not self.who and any(
            self.covers(source.network_address.packed, service, now_ns) and _is_subnet(network, source)
            for source in self.sources
        )


@dataclass(frozen=True, slots=True)
class Blocked:
    """What the organisation lists beyond the catalogue, or keeps off every list, through `expires`.

    It is a name (and those below it), a URL (`name` is its host, and `path`), or a network.
    """

    owner: str
    reason: str
    name: str = ""
    is_subtree: bool = True
    network: Network | None = None
    expires: date | None = None
    path: str = ""
    origin: PolicyOrigin = PolicyOrigin.FILE

    @property
    def what(self) -> object:
        """Return what two entries that mean the same have in common."""
        return self.name, self.is_subtree, self.network, self.path

    @property
    def entry(self) -> str:
        """Return the entry as it is written in the file."""
        if self.network is not None or self.path:
            return str(self.network) if self.network is not None else f"https://{self.name}{self.path}"
        return self.name if self.is_subtree else f"={self.name}"

    def hits(self, domain: str) -> bool:
        """Tell whether it means `domain`, or a name at or below it."""
        is_above = self.is_subtree and is_at_or_below(domain, self.name)
        return bool(self.name) and (is_above or is_at_or_below(self.name, domain))

    @property
    def ends_at_ns(self) -> int:
        """Return the end of its last day, 0 when there is none."""
        if self.expires is None:
            return 0
        return int(datetime(*self.expires.timetuple()[:3], tzinfo=UTC).timestamp()) * NS_PER_S + DAY_NS

    def is_active(self, now_ns: int) -> bool:
        """Tell whether the entry holds at `now_ns`."""
        return self.expires is None or day_of(now_ns) <= self.expires


@dataclass(frozen=True, slots=True)
class Policy:
    """What is sanctioned, excepted and decided; `warnings` are sentences for whoever keeps the file.

    `decided_in_database` are those keys of `decisions` that the file does not speak of.
    """

    sanctions: tuple[Sanction, ...] = ()
    exceptions: tuple[PolicyException, ...] = ()
    blocked: tuple[Blocked, ...] = ()
    never_blocked: tuple[Blocked, ...] = ()
    decisions: dict[str, Decision] = field(default_factory=dict)
    profiles: tuple[Profile, ...] = BUILT_IN
    profiles_in_database: frozenset[str] = frozenset()
    warnings: tuple[str, ...] = ()
    digest: str = ""
    decided_in_database: frozenset[str] = frozenset()
    _by_domain: dict[str, Sanction] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Index the sanctions."""
        object.__setattr__(self, "_by_domain", {sanction.domain: sanction for sanction in self.sanctions})

    def sanction_for(self, name: str, now_ns: int) -> Sanction | None:
        """Return the active sanction at or above folded `name`, the most specific first. Costs O(labels)."""
        if not self._by_domain:
            return None
        above = (self._by_domain.get(parent) for parent in ancestors(name))
        return next((sanction for sanction in above if sanction is not None and sanction.is_active(now_ns)), None)

    def pinned_to(self, address: bytes, now_ns: int) -> Iterator[Sanction]:
        """Yield the active sanctions whose pin holds a packed address."""
        for sanction in self.active_sanctions(now_ns):
            if sanction.addresses and sanction.covers_address(address):
                yield sanction

    def active_sanctions(self, now_ns: int) -> tuple[Sanction, ...]:
        """Return the sanctions that hold at `now_ns`."""
        return tuple(sanction for sanction in self.sanctions if sanction.is_active(now_ns))

    def active_blocked(self, now_ns: int) -> tuple[Blocked, ...]:
        """Return the entries of our own that hold at `now_ns`."""
        return tuple(entry for entry in self.blocked if entry.is_active(now_ns))

    def active_never_blocked(self, now_ns: int) -> tuple[Blocked, ...]:
        """Return the entries that are kept off every list at `now_ns`."""
        return tuple(entry for entry in self.never_blocked if entry.is_active(now_ns))

    def spared_networks(self, now_ns: int) -> dict[Network, str]:
        """Return the networks that no list may hit at `now_ns`, each with why."""
        spared = {row.network: "the policy never blocks it" for row in self.active_never_blocked(now_ns) if row.network}
        pins = (network for sanction in self.active_sanctions(now_ns) for network in sanction.addresses)
        return spared | dict.fromkeys(pins, "a sanctioned ingress is pinned to it")

    def is_spared(self, name: str, now_ns: int) -> bool:
        """Tell whether folded `name` is sanctioned, or kept off every list, at `now_ns`."""
        if self.sanction_for(name, now_ns) is not None:
            return True
        above = ancestors(name)
        rows = (row for row in self.active_never_blocked(now_ns) if row.name)
        return any(row.name in above if row.is_subtree else row.name == name for row in rows)

    def has_sanctioned(self, service_id: str, now_ns: int) -> bool:
        """Tell whether an ingress of `service_id` is sanctioned at `now_ns`."""
        return any(sanction.service == service_id and sanction.is_active(now_ns) for sanction in self.sanctions)

    def unpinned_services(self, now_ns: int) -> frozenset[str]:
        """Return the services of which an ingress is sanctioned at any address: it may share those of all others."""
        return frozenset(row.service for row in self.sanctions if not row.addresses and row.is_active(now_ns))

    def exception_for(
        self, source: bytes, service: Service, now_ns: int, who: Source = NOBODY
    ) -> PolicyException | None:
        """Return the first exception that lets `source`, which is `who`, use `service` at `now_ns`."""
        return next((row for row in self.exceptions if row.covers(source, service, now_ns, who)), None)

    def decide(self, service: Service) -> Decision:
        """Return what was decided about `service`: its id beats its category, which beats the default."""
        by_category = self.decisions.get(service.category, service.default_decision)
        return self.decisions.get(service.id, by_category)


def day_of(now_ns: int) -> date:
    """Return the day (UTC) of a time."""
    return datetime.fromtimestamp(now_ns // NS_PER_S, UTC).date()


def _selected(who: Source, field_name: str) -> str | None:
    """Return what an exception compares with a field of a source."""
    value: str | None = getattr(who, field_name)
    return fold(value) if field_name == "host" and value is not None else value


def _is_subnet(network: Network, other: Network) -> bool:
    same = isinstance(network, ipaddress.IPv4Network) is isinstance(other, ipaddress.IPv4Network)
    return same and network.subnet_of(other)  # type: ignore[arg-type]  # they are of one family


def _is_inside(packed: bytes, networks: Iterable[Network]) -> bool:
    address = ipaddress.ip_address(packed)
    return any(address.version == network.version and address in network for network in networks)
