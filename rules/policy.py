"""The policy file: what the organisation sanctioned, excepted and decided (TOML, unknown keys refused).

Parsing is pure: text and the day in, an immutable `Policy` out. A reload replaces the reference to it.
"""

import hashlib
import ipaddress
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from enum import StrEnum

import msgspec

from rules.catalogue import CATEGORIES, Catalogue, Network, Service
from rules.covered import covered_entries
from rules.errors import InvalidName, InvalidPolicy
from rules.matcher import EXACT_MARK, WILDCARDS
from rules.names import ancestors, fold, is_address, is_at_or_below, normalise
from rules.policy_tables import BlockedTable, ExceptionTable, PolicyFile, SanctionTable, explain, nearest
from rules.policy_who import read_who
from rules.profiles import BUILT_IN, MAX_PROFILES, Profile, ProfileTable
from rules.public_suffix import is_public_suffix
from rules.source import NOBODY, Source
from rules.urls import is_url, parse_url
from rules.verdict import Decision

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

    def is_active(self, now_ns: int) -> bool:
        """Tell whether the sanction holds at `now_ns`."""
        return self.expires is None or day_of(now_ns) <= self.expires

    def covers_address(self, packed: bytes) -> bool:
        """Tell whether a packed address is inside the pin; without a pin every address is."""
        return not self.addresses or _is_inside(packed, self.addresses)


@dataclass(frozen=True, slots=True)
class PolicyException:
    """Those who may use a service (or a category of services) for a while.

    `sources` are networks, none of them means any; `who` has, for each field of `rules.source.Source` that the file
    names, the values that it may have. All that is named must hold.
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
    """What the organisation lists beyond the catalogue, through `expires`.

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
    decisions: dict[str, Decision] = field(default_factory=dict)
    profiles: tuple[Profile, ...] = BUILT_IN
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


def parse_policy(text: str, file_name: str, catalogue: Catalogue, now_ns: int) -> Policy:
    """Return the policy that a TOML file's `text` describes; `file_name` is for messages.

    Raises:
        InvalidPolicy: the message names the file, the key and what to do.
    """
    try:
        tables = msgspec.convert(tomllib.loads(text.removeprefix("\ufeff")), PolicyFile)
    except msgspec.ValidationError as error:  # before ValueError, of which it is one
        raise InvalidPolicy(f"{file_name}: {explain(str(error))}") from None
    except (ValueError, RecursionError) as error:  # also numbers of 4,300 digits and brackets nested by the thousand
        raise InvalidPolicy(f"{file_name} is not TOML: {error}") from None
    reader = PolicyReader(file_name, catalogue, day_of(now_ns))
    sanctions = tuple(reader.sanction(at, row) for at, row in enumerate(tables.sanctioned))
    reader.refuse_twice([sanction.domain for sanction in sanctions], "sanctioned")
    return Policy(
        sanctions=sanctions,
        exceptions=tuple(reader.exception(at, row) for at, row in enumerate(tables.exception)),
        blocked=tuple(reader.blocked(at, row, sanctions) for at, row in enumerate(tables.blocked)),
        decisions=dict(reader.decision(key, value) for key, value in tables.services.items()),
        profiles=(*BUILT_IN, *reader.profiles(tables.profile)),
        warnings=tuple(reader.warnings),
        digest=hashlib.sha256(text.encode()).hexdigest(),
    )


class PolicyReader:
    """Checks the rows of one file or of the database; collects warnings.

    Its methods raise `InvalidPolicy` with a message that names the key and says what to do.
    """

    def __init__(self, file_name: str, catalogue: Catalogue, today: date) -> None:
        self.file_name = file_name
        self.catalogue = catalogue
        self.today = today
        self.warnings: list[str] = []
        self._covered = covered_entries(catalogue)

    def sanction(self, at: int, row: SanctionTable) -> Sanction:
        """Return the sanction that row `at` of the file describes."""
        key = f"sanctioned[{at}]"
        domain = self._domain(f"{key}.domain", row.domain)
        if row.service not in self.catalogue.services:
            raise self._error(
                f"{key}.service", f"{row.service!r} is no service{nearest(row.service, self._services())}"
            )
        self._check_texts(key, row.owner, row.reason)
        self._warn_if_expired(key, domain, row.expires)
        addresses = tuple(self._network(f"{key}.addresses", text) for text in row.addresses)
        return Sanction(domain, row.service, row.owner, row.reason, row.expires, addresses)

    def exception(self, at: int, row: ExceptionTable) -> PolicyException:
        """Return the exception that row `at` describes."""
        key = f"exception[{at}]"
        who = tuple((field_name, values) for field_name, values in read_who(key, row, self._error) if values)
        if not row.sources and not who:
            advice = 'is empty: name the networks that may, such as ["10.20.0.0/16"], or users, hosts, macs, ...'
            raise self._error(f"{key}.sources", advice)
        sources = tuple(self._network(f"{key}.sources", text) for text in row.sources)
        service = self.service_or_category(f"{key}.service", row.service)
        self._check_texts(key, row.owner, row.reason)
        self._warn_if_expired(key, service, row.expires)
        named = [f"{field_name}={value}" for field_name, values in who for value in sorted(values)]
        identity = "|".join([*map(str, sources), *named, service, row.owner])
        exception_id = f"{service}-{hashlib.sha256(identity.encode()).hexdigest()[:8]}"
        return PolicyException(exception_id, sources, service, row.owner, row.reason, row.expires, who)

    def blocked(self, at: int, row: BlockedTable, sanctions: Iterable[Sanction]) -> Blocked:
        """Return the entry that row `at` describes; it must not block what `sanctions` allow."""
        key = f"blocked[{at}]"
        self._check_texts(key, row.owner, row.reason)
        self._warn_if_expired(key, row.entry, row.expires)
        if is_url(row.entry):
            return self._blocked_url(f"{key}.entry", row, sanctions)
        if "/" in row.entry or is_address(row.entry):
            network = self._network(f"{key}.entry", row.entry)
            if network.prefixlen < WIDEST[network.version] or not network.is_global:
                raise self._error(f"{key}.entry", f"{network} is private, or too wide for a list: name less")
            return Blocked(row.owner, row.reason, network=network, expires=row.expires)
        name, is_subtree = self._listable(f"{key}.entry", row.entry)
        for sanction in sanctions:
            if is_at_or_below(name, sanction.domain) or (is_subtree and is_at_or_below(sanction.domain, name)):
                raise self._error(f"{key}.entry", f"{name} would block {sanction.domain}, which is sanctioned")
        return Blocked(row.owner, row.reason, name, is_subtree, expires=row.expires)

    def _blocked_url(self, key: str, row: BlockedTable, sanctions: Iterable[Sanction]) -> Blocked:
        try:
            host, path = parse_url(row.entry)
        except InvalidName as error:
            raise self._error(key, str(error)) from None
        for sanction in sanctions:
            if is_at_or_below(host, sanction.domain):
                raise self._error(key, f"{host} is at or below {sanction.domain}, which is sanctioned")
        return Blocked(row.owner, row.reason, host, is_subtree=False, expires=row.expires, path=path)

    def profiles(self, rows: list[ProfileTable]) -> list[Profile]:
        """Return the built-in profiles with those of `rows`."""
        if len(rows) > MAX_PROFILES:
            raise self._error("profile", f"{len(rows)} are more than are built ({MAX_PROFILES}): leave some out")
        self.refuse_twice([row.name for row in rows], "profile")
        return [self._profile(at, row) for at, row in enumerate(rows)]

    def _profile(self, at: int, row: ProfileTable) -> Profile:
        key = f"profile[{at}]"
        services = frozenset(self.service_or_category(f"{key}.services", text) for text in row.services)
        try:
            return row.profile(services, tuple(self._network(f"{key}.networks", text) for text in row.networks))
        except InvalidName as error:
            raise self._error(key, str(error)) from None

    def _listable(self, key: str, entry: str) -> tuple[str, bool]:
        """Return the name of an entry that may be listed, and whether it stands for those below it."""
        try:
            name = normalise(entry.removeprefix(EXACT_MARK))
        except InvalidName as error:
            raise self._error(key, f"{error}; give a name, or =name for that name alone") from None
        is_subtree = not entry.startswith(EXACT_MARK)
        shared = [other for other in self.catalogue.shared if is_at_or_below(other, name)] if is_subtree else []
        if is_public_suffix(name) or name in self.catalogue.shared or shared:
            raise self._error(key, f"{name} is everybody's: name the one that is meant below it")
        return name, is_subtree

    def decision(self, key: str, value: str) -> tuple[str, Decision]:
        """Return a service or category with what is decided of it."""
        known = [decision.value for decision in Decision]
        if value not in known:
            raise self._error(f"services.{key}", f"{value!r} is no decision: choose {', '.join(known)}")
        return self.service_or_category("services", key), Decision(value)

    def service_or_category(self, key: str, value: str) -> str:
        """Return `value` if it is a service or a category."""
        known = [*self._services(), *CATEGORIES]
        if value not in known:
            raise self._error(key, f"{value!r} is neither a service nor a category{nearest(value, known)}")
        return value

    def refuse_twice(self, names: Iterable[str], table: str) -> None:
        """Refuse a name that stands in a table twice."""
        seen: set[str] = set()
        for name in names:
            if name in seen:
                raise self._error(table, f"{name} stands there twice: keep one entry")
            seen.add(name)

    def _domain(self, key: str, text: str) -> str:
        try:
            domain = normalise(text)
        except InvalidName as error:
            raise self._error(key, f"{error}; give a name such as tunnels.example.com") from None
        if is_public_suffix(domain):
            raise self._error(
                key, f"{domain} is a public suffix: everybody's names lie below it; name your own ingress"
            )
        if (entry := self._covered_entry(domain)) is not None:
            raise self._error(
                key, f"{domain} covers the catalogue name {entry}, which is everybody's; name your own ingress"
            )
        return domain

    def _covered_entry(self, domain: str) -> str | None:
        match = self.catalogue.match(domain)
        if match is not None and any(wildcard in match.entry for wildcard in WILDCARDS):
            return match.entry
        return self._covered.get(domain)

    def _network(self, key: str, text: str) -> Network:
        try:
            return ipaddress.ip_network(text)
        except ValueError as error:
            raise self._error(key, f"{error}; give addresses or networks such as 203.0.113.0/24") from None

    def _check_texts(self, key: str, owner: str, reason: str) -> None:
        for name, text in (("owner", owner), ("reason", reason)):
            if not text.strip():
                raise self._error(f"{key}.{name}", "is empty: say who answers for it and why")

    def _warn_if_expired(self, key: str, what: str, expires: date | None) -> None:
        if expires is not None and expires < self.today:
            self.warnings.append(f"{self.file_name}: {key} ({what}) expired on {expires}: renew it or remove it")

    def _services(self) -> list[str]:
        return list(self.catalogue.services)

    def _error(self, key: str, message: str) -> InvalidPolicy:
        return InvalidPolicy(f"{self.file_name}: {key}: {message}")


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
