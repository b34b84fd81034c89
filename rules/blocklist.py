"""Block lists: what firewalls and resolvers should refuse, built so that the sanctioned tunnel cannot be hit.

A list is built once, minimised and checked, then kept as a numbered snapshot and rendered for each consumer.
The rule above all: a sanctioned name, and an auxiliary name that its agents need, is on no list (DESIGN.md section 7).
"""

import ipaddress
from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from hashlib import sha256
from typing import TypeVar

import msgspec

from rules.catalogue import Catalogue, ListKind, Network, Service
from rules.matcher import EXACT_MARK, WILDCARDS
from rules.names import ancestors, normalise
from rules.policy import Blocked, Policy
from rules.verdict import Decision

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# An answer that points here is a sinkhole or a host of the company's own, never a tunnel service.
OWN_NETWORKS: tuple[Network, ...] = tuple(
    map(
        ipaddress.ip_network,
        (
            *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
            *("192.168.0.0/16", "224.0.0.0/3", "::/127", "::ffff:0:0/96", "fc00::/7", "fe80::/10", "ff00::/8"),
        ),
    )
)

# An address that the names of more services than this answer with is a sinkhole, or a host that others share.
MOST_SERVICES = 3


# The service of entries that the policy lists beyond the catalogue.
OURS = "policy"


class ListName(StrEnum):
    """The lists there are."""

    UNSANCTIONED_DOMAINS = "unsanctioned-domains"
    UNSANCTIONED_ADDRESSES = "unsanctioned-addresses"


class Scope(StrEnum):
    """Whether an entry means that name alone, or the name and everything below it."""

    EXACT = "exact"
    SUBTREE = "subtree"


class Origin(StrEnum):
    """Where an entry comes from."""

    CATALOGUE = "catalogue"
    MANUAL = "manual"


class NameEntry(msgspec.Struct, frozen=True, order=True, omit_defaults=True, gc=False):
    """A name on a list: the service it belongs to, where it comes from and why, and since when it is listed.

    `first_listed_ns` is stamped when the list is published (`stamp`) and does not count for its identity.
    """

    name: str
    scope: Scope
    service: str
    source: Origin = Origin.CATALOGUE
    reason: str = ""
    first_listed_ns: int = 0


class AddressEntry(msgspec.Struct, frozen=True, order=True, omit_defaults=True, gc=False):
    """A prefix on a list (`198.51.100.7/32`), as `NameEntry`; the reason is the name that resolved to it."""

    prefix: str
    service: str
    source: Origin = Origin.CATALOGUE
    reason: str = ""
    first_listed_ns: int = 0


Entry = TypeVar("Entry", NameEntry, AddressEntry)


class NameList(msgspec.Struct, frozen=True, tag="names"):
    """Names to block, sorted and minimised.

    `blocked` covers no protected name: it is for formats without exemptions. Formats that have exemptions take `wide`,
    where a subtree may hold protected names, together with `allowed`, which exempts them.
    """

    blocked: tuple[NameEntry, ...] = ()
    wide: tuple[NameEntry, ...] = ()
    allowed: tuple[NameEntry, ...] = ()


class AddressList(msgspec.Struct, frozen=True, tag="addresses"):
    """Prefixes to block, sorted; `withheld` says which services are left out and why."""

    blocked: tuple[AddressEntry, ...] = ()
    withheld: dict[str, str] = {}


class Snapshot(msgspec.Struct, frozen=True):
    """One numbered, immutable state of a list."""

    list_name: ListName
    serial: int
    created_at_ns: int
    digest: str
    body: NameList | AddressList


def digest(body: NameList | AddressList) -> str:
    """Return the identity of a list's content."""
    return sha256(encode(body)).hexdigest()


def stamp(body: NameList | AddressList, before: NameList | AddressList | None, now_ns: int) -> NameList | AddressList:
    """Return the list with its blocked entries stamped: when each was first listed, without a gap since."""
    if isinstance(body, AddressList):
        since = {row.prefix: row.first_listed_ns for row in before.blocked} if isinstance(before, AddressList) else {}
        return msgspec.structs.replace(
            body, blocked=tuple(_since(row, since.get(row.prefix) or now_ns) for row in body.blocked)
        )
    earlier = (*before.blocked, *before.wide) if isinstance(before, NameList) else ()
    known = {(row.name, row.scope): row.first_listed_ns for row in earlier}

    def stamped(rows: tuple[NameEntry, ...]) -> tuple[NameEntry, ...]:
        return tuple(_since(row, known.get((row.name, row.scope)) or now_ns) for row in rows)

    blocked = stamped(body.blocked)
    return msgspec.structs.replace(
        body, blocked=blocked, wide=blocked if body.wide is body.blocked else stamped(body.wide)
    )


def encode(body: NameList | AddressList) -> bytes:
    """Return the list as it is stored."""
    return msgspec.json.encode(body)


def decode(stored: bytes) -> NameList | AddressList:
    """Return a stored list.

    Raises:
        msgspec.MsgspecError: the bytes are not what `encode` made.
    """
    return msgspec.json.decode(stored, type=NameList | AddressList)


def build_names(catalogue: Catalogue, policy: Policy, now_ns: int) -> NameList:
    """Return the names to block: agent names of every service that is decided `block`.

    Names of visitors are not listed: opening somebody's tunnel is not running one. Costs O(names x labels).
    """
    listed = [entry for service in blocked_services(catalogue, policy) for entry in _agent_entries(service)]
    ours = [
        NameEntry(row.name, Scope.SUBTREE if row.is_subtree else Scope.EXACT, OURS, Origin.MANUAL, _because(row))
        for row in policy.active_blocked(now_ns)
        if row.name
    ]
    return _name_list([*listed, *ours], catalogue, policy, now_ns)


def narrow_names(listed: NameList, catalogue: Catalogue, policy: Policy, now_ns: int) -> NameList:
    """Return a list that was published earlier without what must be spared now: nothing is added to it."""
    return _name_list(listed.wide, catalogue, policy, now_ns)


def _name_list(listed: Iterable[NameEntry], catalogue: Catalogue, policy: Policy, now_ns: int) -> NameList:
    protected = protected_names(catalogue, policy, now_ns)
    untouchable = {**protected, **_shared(catalogue)}
    wide = [entry for entry in listed if not _is_protected(entry.name, untouchable)]
    services = blocked_services(catalogue, policy)
    exempt = [entry for service in services for entry in _entries(service.exclude_domains, service.id)]
    blocked, widest = _minimise(_narrow(wide, untouchable)), _minimise(wide)
    return NameList(
        blocked=blocked,
        wide=blocked if blocked == widest else widest,  # one tuple: a list may have a million entries
        allowed=_minimise([*protected.values(), *exempt]),
    )


def protected_names(catalogue: Catalogue, policy: Policy, now_ns: int) -> dict[str, NameEntry]:
    """Return what no list may cover: sanctioned subtrees and the auxiliary names that their agents need."""
    sanctions = policy.active_sanctions(now_ns)
    protected = {row.domain: NameEntry(row.domain, Scope.SUBTREE, row.service) for row in sanctions}
    for sanction in sanctions:
        for entry in _entries(catalogue.services[sanction.service].auxiliary_domains, sanction.service):
            protected.setdefault(entry.name, entry)
    return protected


def blocked_services(catalogue: Catalogue, policy: Policy) -> list[Service]:
    """Return the services that are decided `block`."""
    return [service for service in catalogue.services.values() if policy.decide(service) is Decision.BLOCK]


def names_to_resolve(catalogue: Catalogue, policy: Policy, now_ns: int) -> dict[str, str]:
    """Return the names whose addresses belong on the address list, with their service id.

    Only names that agents dial are resolved (exact entries and the SNI seen of them): the apex of a subtree is often
    the vendor's web site. Services in `withheld_services` are left out whole.
    """
    withheld = withheld_services(policy, now_ns)
    untouchable = {**protected_names(catalogue, policy, now_ns), **_shared(catalogue)}
    return {
        name: service.id
        for service in blocked_services(catalogue, policy)
        if service.id not in withheld
        for name in _dialled_names(service)
        if not _is_protected(name, untouchable) and _is_agent_name(name, catalogue)
    }


def withheld_services(policy: Policy, now_ns: int) -> dict[str, str]:
    """Return the services whose addresses are not published, with the reason."""
    return {
        sanction.service: f"{sanction.domain} is sanctioned and pins no addresses: it may share them with the service"
        for sanction in policy.active_sanctions(now_ns)
        if not sanction.addresses
    }


def build_addresses(
    catalogue: Catalogue,
    policy: Policy,
    resolved: Mapping[str, Iterable[str]],
    sanctioned_addresses: Iterable[str],
    now_ns: int,
) -> AddressList:
    """Return the addresses to block: those that agents' names resolve to, and those that their vendors publish.

    Args:
        catalogue: the services.
        policy: the decisions, and the pins, which are never blocked.
        resolved: addresses as text by name; names that `names_to_resolve` does not list are ignored.
        sanctioned_addresses: addresses that sanctioned names resolve to or were seen at: never blocked.
        now_ns: which sanctions hold.
    """
    spared = {ipaddress.ip_address(address) for address in sanctioned_addresses}
    pins = [network for sanction in policy.active_sanctions(now_ns) for network in sanction.addresses]
    never = [*pins, *OWN_NETWORKS]
    rows: dict[str, AddressEntry] = {}
    for address, service, reason in _candidates(catalogue, policy, resolved, now_ns):
        if address not in spared and not _is_in(address, never):
            prefix = str(ipaddress.ip_network(address))
            rows.setdefault(prefix, AddressEntry(prefix, service, reason=reason))
    for row in policy.active_blocked(now_ns):
        if row.network and not _overlaps(row.network, [*never, *map(ipaddress.ip_network, spared)]):
            prefix = str(row.network)
            rows[prefix] = AddressEntry(prefix, OURS, Origin.MANUAL, _because(row))
    return AddressList(blocked=tuple(sorted(rows.values())), withheld=withheld_services(policy, now_ns))


def _candidates(
    catalogue: Catalogue, policy: Policy, resolved: Mapping[str, Iterable[str]], now_ns: int
) -> Iterator[tuple[Address, str, str]]:
    """Yield the addresses of agents' names and those that vendors publish, each with its service and the reason."""
    users: dict[Address, dict[str, str]] = {}
    for name, service_id in names_to_resolve(catalogue, policy, now_ns).items():
        for address in map(ipaddress.ip_address, resolved.get(name, ())):
            users.setdefault(address, {}).setdefault(service_id, name)
    for address, names in users.items():
        if len(names) <= MOST_SERVICES and not _is_in(address, catalogue.shared_networks):
            yield (address, *min(names.items()))
    withheld = withheld_services(policy, now_ns)
    for service in blocked_services(catalogue, policy):
        if service.id not in withheld:
            for address in map(ipaddress.ip_address, service.addresses):
                yield address, service.id, "its vendor publishes it"


def agent_names(catalogue: Catalogue, policy: Policy) -> dict[str, str]:
    """Return the names that agents dial, with their service id: of every service that is not ignored.

    Unlike `names_to_resolve` they are for recognising agents, so that no sanction leaves any out.
    """
    return {
        name: service.id
        for service in catalogue.services.values()
        if policy.decide(service) is not Decision.IGNORE
        for name in _dialled_names(service)
        if name not in catalogue.shared and _is_agent_name(name, catalogue)
    }


def agent_addresses(
    catalogue: Catalogue, policy: Policy, resolved: Mapping[str, Iterable[str]], now_ns: int
) -> dict[str, tuple[str, str]]:
    """Return the addresses that agents' names resolve to, each with its service and such a name.

    Left out are content networks, addresses with the names of many services, a company's own networks and pins.
    """
    never = [*OWN_NETWORKS, *catalogue.shared_networks]
    never += [network for sanction in policy.active_sanctions(now_ns) for network in sanction.addresses]
    users: dict[str, dict[str, str]] = {}
    for name, service_id in agent_names(catalogue, policy).items():
        for address in resolved.get(name, ()):
            users.setdefault(address, {}).setdefault(service_id, name)
    return {
        address: min(names.items())
        for address, names in users.items()
        if len(names) <= MOST_SERVICES and not _is_in(ipaddress.ip_address(address), never)
    }


def _because(row: Blocked) -> str:
    return f"{row.reason} ({row.owner})"


def _overlaps(prefix: Network, networks: Iterable[Network]) -> bool:
    return any(prefix.version == network.version and prefix.overlaps(network) for network in networks)


def _since(entry: Entry, first_listed_ns: int) -> Entry:
    return msgspec.structs.replace(entry, first_listed_ns=first_listed_ns)


def _shared(catalogue: Catalogue) -> dict[str, NameEntry]:
    return {name: NameEntry(name, Scope.EXACT, "") for name in catalogue.shared}


def _agent_entries(service: Service) -> list[NameEntry]:
    return _entries((entry for kind, entry in service.entries() if kind is ListKind.AGENT), service.id)


def _dialled_names(service: Service) -> list[str]:
    exact = [entry.name for entry in _agent_entries(service) if entry.scope is Scope.EXACT]
    return exact + [normalise(name) for name in service.sni if not any(mark in name for mark in "<>*")]


def _is_agent_name(name: str, catalogue: Catalogue) -> bool:
    """Tell whether the catalogue's verdict on `name` is an agent: some agents' SNI is also their vendor's web site."""
    match = catalogue.match(name)
    return match is not None and ListKind.AGENT in match.kinds


def _entries(listed: Iterable[str], service: str) -> list[NameEntry]:
    return [
        NameEntry(normalise(entry.removeprefix(EXACT_MARK)), _scope(entry), service)
        for entry in listed
        if not any(wildcard in entry for wildcard in WILDCARDS)
    ]


def _scope(entry: str) -> Scope:
    return Scope.EXACT if entry.startswith(EXACT_MARK) else Scope.SUBTREE


def _is_protected(name: str, protected: Mapping[str, NameEntry]) -> bool:
    if name in protected:
        return True
    return any(parent in protected and protected[parent].scope is Scope.SUBTREE for parent in ancestors(name))


def _narrow(entries: Iterable[NameEntry], protected: Mapping[str, NameEntry]) -> list[NameEntry]:
    above_protected = {parent for name in protected for parent in ancestors(name)}
    return [
        msgspec.structs.replace(entry, scope=Scope.EXACT) if entry.name in above_protected else entry
        for entry in entries
    ]


def _minimise(entries: Iterable[NameEntry]) -> tuple[NameEntry, ...]:
    """Return the entries without those that a subtree entry of the list covers, sorted."""
    subtrees = {entry.name for entry in entries if entry.scope is Scope.SUBTREE}
    kept: dict[str, NameEntry] = {}
    for entry in entries:
        above = ancestors(entry.name)
        covering = above[1:] if entry.scope is Scope.SUBTREE else above
        if not any(parent in subtrees for parent in covering):
            kept.setdefault(entry.name, entry)
    return tuple(sorted(kept.values()))


def _is_in(address: Address, networks: Iterable[Network]) -> bool:
    return any(address.version == network.version and address in network for network in networks)
