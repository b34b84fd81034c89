"""A tunnel service, as its file of the catalogue says it."""

import ipaddress
from collections.abc import Iterable, Mapping
from enum import StrEnum
from functools import cache

import msgspec

from rules.errors import InvalidCatalogue, InvalidName
from rules.matching.matcher import canonical
from rules.values.verdict import Decision

CATEGORIES = ("reverse-tunnel", "ssh-tunnel", "mesh-vpn", "remote-access", "dns-tunnel")
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


class Examples(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Names that a service's lists must hold, for `molecatcher catalogue test`."""

    agent: tuple[str, ...] = ()
    endpoint: tuple[str, ...] = ()
    auxiliary: tuple[str, ...] = ()


class Service(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One service, as its file says it; `id` is the file's name. `near_misses` are names that it must not match."""

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
    fallbacks: tuple[str, ...] = ()
    ssh: bool = False
    addresses: tuple[str, ...] = ()
    wire: str = ""
    notes: str = ""
    examples: Examples = Examples()
    near_misses: tuple[str, ...] = ()

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


NAMES = {
    "agent_domains": "agent name",
    "agent_patterns": "agent name",
    "endpoint_domains": "endpoint name",
    "auxiliary_domains": "auxiliary name",
    "exclude_domains": "excluded name",
    "ns_domains": "name server",
}  # the lists of names, and what errors call one


@cache
def unnamed_service(category: str) -> Service:
    """Return what stands for a service that a protocol does not name, so that what was decided on `category` holds."""
    return Service(
        id="", name="", homepage="", category=category, confidence=Trust.LOW, ports=(), sources=("a protocol tell",)
    )


def read_service(table: Mapping[str, object], file_name: str, service_id: str) -> Service:
    """Return the service that a file's table describes; errors name `file_name`.

    Raises:
        InvalidCatalogue: a key is missing, unknown or of the wrong type, or a value cannot be.
    """
    try:
        service = msgspec.convert({**table, "id": service_id}, Service)
        for address in service.addresses:
            ipaddress.ip_network(address)
    except ValueError as error:
        raise InvalidCatalogue(f"{file_name}: {error}") from None
    names = {key: _canonical_names(getattr(service, key), f"{file_name}: {what}") for key, what in NAMES.items()}
    service = msgspec.structs.replace(service, **names)
    if service.category not in CATEGORIES:
        raise InvalidCatalogue(f"{file_name}: category {service.category!r} is none of {', '.join(CATEGORIES)}")
    if not service.sources:
        raise InvalidCatalogue(f"{file_name}: `sources` is empty: say where the names come from")
    return service


def _canonical_names(entries: Iterable[str], what: str) -> tuple[str, ...]:
    found = []
    for entry in entries:
        try:
            found.append(canonical(entry))
        except InvalidName as error:
            raise InvalidCatalogue(f"{what} {entry!r}: {error}") from None
    return tuple(found)
