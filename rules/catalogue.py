"""The catalogue of tunnel services: one TOML file a service, loaded, validated and indexed once."""

import ipaddress
import tomllib
from collections.abc import Iterable, Mapping
from datetime import date
from enum import StrEnum
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from types import MappingProxyType

import msgspec

from rules.errors import InvalidCatalogue, InvalidName
from rules.matcher import NameTable
from rules.names import normalise
from rules.verdict import Decision

CATEGORIES = ("reverse-tunnel", "ssh-tunnel", "mesh-vpn", "remote-access", "dns-tunnel")
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
KNOWN_NAMES = 16_384
BLOCKED_BY_DEFAULT = ("reverse-tunnel", "ssh-tunnel")


class Trust(StrEnum):
    """How well an entry is sourced: vendor documentation or source, a maintained list, or one weak source."""

    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


class ListKind(StrEnum):
    """Which of a service's lists holds a name."""

    AGENT = "agent"
    ENDPOINT = "endpoint"
    AUXILIARY = "auxiliary"
    EXCLUDED = "excluded"


class Service(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One service, as its file says it; `id` is the file's name."""

    id: str
    name: str
    homepage: str
    category: str
    confidence: Trust
    ports: tuple[str, ...]
    sources: tuple[str, ...]
    agent_domains: tuple[str, ...] = ()
    agent_patterns: tuple[str, ...] = ()
    endpoint_domains: tuple[str, ...] = ()
    auxiliary_domains: tuple[str, ...] = ()
    exclude_domains: tuple[str, ...] = ()
    sni: tuple[str, ...] = ()
    alpn: tuple[str, ...] = ()
    ja4: tuple[str, ...] = ()
    ns_domains: tuple[str, ...] = ()
    ssh: bool = False
    addresses: tuple[str, ...] = ()
    wire: str = ""
    notes: str = ""

    def entries(self) -> Iterable[tuple[ListKind, str]]:
        """Return every listed name with the list that holds it."""
        yield from ((ListKind.AGENT, entry) for entry in self.agent_domains + self.agent_patterns)
        yield from ((ListKind.ENDPOINT, entry) for entry in self.endpoint_domains)
        yield from ((ListKind.AUXILIARY, entry) for entry in self.auxiliary_domains)
        yield from ((ListKind.EXCLUDED, entry) for entry in self.exclude_domains)

    @property
    def short_name(self) -> str:
        """Return the name without the explanation in parentheses."""
        return self.name.partition(" (")[0]

    @property
    def default_decision(self) -> Decision:
        """Return what happens to the service where the organisation decided nothing (DESIGN.md section 3)."""
        is_blocked = self.category in BLOCKED_BY_DEFAULT and self.confidence is not Trust.LOW
        return Decision.BLOCK if is_blocked else Decision.MONITOR


@cache
def unnamed_service(category: str) -> Service:
    """Return what stands for a service that a protocol does not name, so that what was decided on `category` holds."""
    return Service(
        id="", name="", homepage="", category=category, confidence=Trust.LOW, ports=(), sources=("a protocol tell",)
    )


class Listing(msgspec.Struct, frozen=True, gc=False):
    """One listed name: the service, the list and the entry as written."""

    service: Service
    kind: ListKind
    entry: str


class Match(msgspec.Struct, frozen=True, gc=False):
    """The most specific entry for a name; both kinds where the same entry stands in two lists of one service."""

    service: Service
    kinds: frozenset[ListKind]
    entry: str


class Catalogue:
    """All services, indexed by name, by name server, by ALPN and by their agents' JA4. Immutable once built."""

    def __init__(
        self, services: Iterable[Service], shared: Iterable[str], shared_networks: Iterable[Network], generated: date
    ) -> None:
        self.services: Mapping[str, Service] = MappingProxyType({service.id: service for service in services})
        self.shared: frozenset[str] = frozenset(shared)
        self.shared_networks = tuple(shared_networks)
        self.generated = generated
        self.by_alpn = {alpn: service for service in self.services.values() for alpn in service.alpn}
        self.by_ja4 = {ja4: service for service in self.services.values() for ja4 in service.ja4}
        self._table: NameTable[Listing] = NameTable()
        self._servers: NameTable[Service] = NameTable()
        self._known: dict[str, Match | None] = {}  # answers of `match`: names come again and again
        for service in self.services.values():
            for kind, entry in service.entries():
                self._add(service, kind, entry)
            for entry in service.ns_domains:
                self._add_server(service, entry)

    def match(self, name: str) -> Match | None:
        """Return the most specific entry for folded `name`, or None. Costs O(labels), the second time one look-up."""
        try:
            return self._known[name]
        except KeyError:
            pass
        if len(self._known) >= KNOWN_NAMES:
            self._known.clear()
        match = self._known[name] = self._match(name)
        return match

    def zone_server(self, name: str) -> Service | None:
        """Return the service that runs the name server `name` (folded) for its customers' zones, or None."""
        return next((services[0] for services in self._servers.matches(name)), None)

    def _match(self, name: str) -> Match | None:
        excluded: set[str] = set()
        for listings in self._table.matches(name):
            excluded.update(listing.service.id for listing in listings if listing.kind is ListKind.EXCLUDED)
            allowed = [listing for listing in listings if listing.service.id not in excluded]
            if allowed:
                first = allowed[0]
                same = frozenset(listing.kind for listing in allowed if listing.service.id == first.service.id)
                return Match(first.service, same, first.entry)
        return None

    def _add(self, service: Service, kind: ListKind, entry: str) -> None:
        try:
            self._table.add(entry, Listing(service, kind, entry))
        except InvalidName as error:
            raise InvalidCatalogue(f"{service.id}.toml: {kind.value} name {entry!r}: {error}") from None

    def _add_server(self, service: Service, entry: str) -> None:
        try:
            self._servers.add(entry, service)
        except InvalidName as error:
            raise InvalidCatalogue(f"{service.id}.toml: name server {entry!r}: {error}") from None


def load_catalogue(root: Traversable | None = None) -> Catalogue:
    """Return the catalogue below `root` (`services/*.toml`, `shared_infrastructure.toml`); None: the one shipped here.

    Raises:
        InvalidCatalogue: a file is missing or wrong.
    """
    base = root or files("rules")
    try:
        paths = sorted(
            (path for path in (base / "services").iterdir() if path.name.endswith(".toml")), key=lambda p: p.name
        )
        shared = tomllib.loads((base / "shared_infrastructure.toml").read_text(encoding="utf-8"))
        services = [parse_service(path.read_text(encoding="utf-8"), path.name) for path in paths]
        names = [normalise(row["domain"]) for row in shared["shared"]]
        networks = [ipaddress.ip_network(prefix) for row in shared["shared_network"] for prefix in row["prefixes"]]
        generated = shared["generated"]
    except (OSError, tomllib.TOMLDecodeError, KeyError, ValueError, InvalidName) as error:
        raise InvalidCatalogue(f"the catalogue in {base} cannot be read: {error}; reinstall Molecatcher") from error
    if not services:
        raise InvalidCatalogue(f"the catalogue in {base} holds no service; reinstall Molecatcher")
    return Catalogue(services, names, networks, generated)


def parse_service(text: str, file_name: str) -> Service:
    """Return the service described by a TOML file's `text`.

    Raises:
        InvalidCatalogue: a key is missing, unknown or of the wrong type, or a value cannot be.
    """
    try:
        table = tomllib.loads(text)
        service = msgspec.convert({"id": file_name.removesuffix(".toml"), **table}, Service)
        for address in service.addresses:
            ipaddress.ip_network(address)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError, ValueError) as error:
        raise InvalidCatalogue(f"{file_name}: {error}") from None
    if service.category not in CATEGORIES:
        raise InvalidCatalogue(f"{file_name}: category {service.category!r} is none of {', '.join(CATEGORIES)}")
    if not service.sources:
        raise InvalidCatalogue(f"{file_name}: `sources` is empty: say where the names come from")
    return service
