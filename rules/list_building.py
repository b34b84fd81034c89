"""Builds the block lists of a profile from catalogue, policy, findings and resolved addresses."""

import ipaddress
from collections.abc import Iterable, Iterator, Mapping, Sequence
from operator import attrgetter

import msgspec

from rules.blocklist import (
    OURS,
    OWN_NETWORKS,
    AddressEntry,
    AddressList,
    NameEntry,
    NameList,
    Origin,
    Scope,
    UrlEntry,
    UrlList,
    WithheldAddress,
    shared,
)
from rules.catalogue import Catalogue, Network
from rules.matcher import EXACT_MARK, WILDCARDS
from rules.names import ancestors, normalise
from rules.policy import Blocked, Policy
from rules.profiles import AGENTS_ONLY, Profile
from rules.public_suffix import is_public_suffix
from rules.service import ListKind, Service
from rules.verdict import Decision, Role

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# An address that the names of more services than this answer with is a sinkhole, or a host that others share.
MOST_SERVICES = 3


class FoundName(msgspec.Struct, frozen=True):
    """A name that no catalogue lists, taken from a finding: whose it is, how we know, until when that is believed."""

    name: str
    service: str
    reason: str
    expires_ns: int


def build_names(
    catalogue: Catalogue,
    policy: Policy,
    now_ns: int,
    profile: Profile = AGENTS_ONLY,
    found: Iterable[FoundName] = (),
) -> NameList:
    """Return the names to block: those of the services, roles and findings that the profile takes.

    Names of visitors are not listed unless it says so: opening somebody's tunnel is not running one. Costs
    O(names x labels).
    """
    services = listed_services(catalogue, policy, profile, now_ns)
    listed = [entry for service in services for entry in _service_entries(service, profile.roles)]
    listed += (
        NameEntry(
            row.name,
            Scope.SUBTREE if row.is_subtree else Scope.EXACT,
            OURS,
            Origin.MANUAL,
            _because(row),
            expires_ns=row.ends_at_ns,
        )
        for row in policy.active_blocked(now_ns)
        if row.name and not row.path
    )
    taken = {service.id for service in services}
    listed += (
        NameEntry(row.name, Scope.EXACT, row.service, Origin.FINDING, row.reason, expires_ns=row.expires_ns)
        for row in found
        if row.service in taken and row.expires_ns > now_ns and _is_listable(row.name, catalogue)
    )
    return _name_list(listed, services, catalogue, policy, now_ns)


def build_urls(names: NameList, policy: Policy, now_ns: int) -> UrlList:
    """Return the URLs to block: all of the names', and single ones of the organisation's on hosts not exempted."""
    protected = {row.name: row for row in names.allowed}
    urls = {
        f"{row.name}{row.path}": UrlEntry(
            f"{row.name}{row.path}", OURS, reason=_because(row), expires_ns=row.ends_at_ns
        )
        for row in policy.active_blocked(now_ns)
        if row.path and not _is_protected(row.name, protected)
    }
    return UrlList(names.blocked, tuple(sorted(urls.values())))


def narrow_names(
    listed: NameList, catalogue: Catalogue, policy: Policy, now_ns: int, profile: Profile = AGENTS_ONLY
) -> NameList:
    """Return a list that was published earlier without what must be spared now: nothing is added to it."""
    services = listed_services(catalogue, policy, profile, now_ns)
    return _name_list(listed.wide, services, catalogue, policy, now_ns)


def _name_list(
    listed: Sequence[NameEntry], services: Sequence[Service], catalogue: Catalogue, policy: Policy, now_ns: int
) -> NameList:
    protected = protected_names(catalogue, policy, now_ns)
    untouchable = {**_shared(catalogue), **protected}
    wide = [entry for entry in listed if not _is_protected(entry.name, untouchable)]
    exempt = [entry for service in services for entry in _entries(service.exclude_domains, service.id, Role.AGENT)]
    above = {parent for name in untouchable for parent in ancestors(name)}
    widest = _minimise(wide)
    is_narrower = any(entry.name in above for entry in wide)
    return NameList(
        blocked=shared(_minimise(_narrow(wide, above)), widest) if is_narrower else widest,
        wide=widest,
        allowed=_minimise([*protected.values(), *exempt]),
    )


def protected_names(catalogue: Catalogue, policy: Policy, now_ns: int) -> dict[str, NameEntry]:
    """Return what no list may cover: sanctioned subtrees, names their agents need, and what is never blocked."""
    sanctions = policy.active_sanctions(now_ns)
    protected = {
        row.name: NameEntry(row.name, Scope.SUBTREE if row.is_subtree else Scope.EXACT, OURS, Origin.MANUAL)
        for row in sorted(policy.active_never_blocked(now_ns), key=attrgetter("is_subtree"))  # the wider one stays
        if row.name
    }
    protected |= {row.domain: NameEntry(row.domain, Scope.SUBTREE, row.service) for row in sanctions}
    for sanction in sanctions:
        needed = catalogue.services[sanction.service].auxiliary_domains
        for entry in _entries(needed, sanction.service, Role.AUXILIARY):
            if entry.scope is Scope.SUBTREE or entry.name not in protected:  # of two that say the same name, the wider
                protected[entry.name] = entry
    return protected


def listed_services(catalogue: Catalogue, policy: Policy, profile: Profile, now_ns: int) -> list[Service]:
    """Return the services that the profile takes, without those that all of its networks may use."""
    return [
        service
        for service in catalogue.services.values()
        if profile.takes(service, policy.decisions.get(service.id), policy.decisions.get(service.category))
        and not _is_excepted(service, policy, profile, now_ns)
    ]


def names_to_resolve(
    catalogue: Catalogue, policy: Policy, now_ns: int, profile: Profile = AGENTS_ONLY
) -> dict[str, str]:
    """Return the names whose addresses belong on the address list, with their service id.

    Only names that agents dial are resolved (exact entries and the SNI seen of them): the apex of a subtree is often
    the vendor's web site. Services in `withheld_services` are left out whole.
    """
    withheld = withheld_services(policy, now_ns)
    untouchable = {**_shared(catalogue), **protected_names(catalogue, policy, now_ns)}
    return {
        name: service.id
        for service in listed_services(catalogue, policy, profile, now_ns)
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


def build_addresses(  # noqa: PLR0917 - each is a source of the list
    catalogue: Catalogue,
    policy: Policy,
    resolved: Mapping[str, Iterable[str]],
    sanctioned_addresses: Iterable[str],
    now_ns: int,
    profile: Profile = AGENTS_ONLY,
) -> AddressList:
    """Return the addresses to block: those that agents' names resolve to, and those that their vendors publish.

    Args:
        catalogue: the services.
        policy: the decisions, and the pins, which are never blocked.
        resolved: addresses as text by name; names that `names_to_resolve` does not list are ignored.
        sanctioned_addresses: addresses that sanctioned names resolve to or were seen at: never blocked.
        now_ns: which sanctions hold.
        profile: which services are taken.
    """
    sparing = _Sparing(catalogue, policy, sanctioned_addresses, now_ns)
    rows: dict[str, AddressEntry] = {}
    spared: list[WithheldAddress] = []
    for address, names in _candidates(catalogue, policy, resolved, now_ns, profile).items():
        service, name = min(names.items())
        why = sparing.why(address) or sparing.why_shared(address, len(names))
        if why:
            spared.append(WithheldAddress(str(address), name, service, why))
        else:
            prefix = str(ipaddress.ip_network(address))
            rows[prefix] = AddressEntry(prefix, service, reason=name)
    for address, service in _published(catalogue, policy, now_ns, profile):
        prefix, why = str(ipaddress.ip_network(address)), sparing.why(address)
        if why:
            spared.append(WithheldAddress(str(address), "", service, why))
        else:
            rows.setdefault(prefix, AddressEntry(prefix, service, reason="its vendor publishes it"))
    for row in policy.active_blocked(now_ns):
        if row.network and not sparing.overlaps(row.network):
            prefix = str(row.network)
            rows[prefix] = AddressEntry(prefix, OURS, Origin.MANUAL, _because(row), expires_ns=row.ends_at_ns)
    return AddressList(
        blocked=tuple(sorted(rows.values())),
        withheld=withheld_services(policy, now_ns),
        spared=tuple(sorted(spared, key=attrgetter("address"))),
    )


class _Sparing:
    """Says which addresses are not listed, and why."""

    def __init__(self, catalogue: Catalogue, policy: Policy, sanctioned: Iterable[str], now_ns: int) -> None:
        self._seen = frozenset(map(ipaddress.ip_address, sanctioned))
        self._kept = policy.spared_networks(now_ns)
        self._shared = catalogue.shared_networks

    def why(self, address: Address) -> str:
        """Return why an address is spared, whoever says that it is an agent's; an empty text if it is not."""
        if address in self._seen:
            return "a sanctioned name resolves to it, or was seen at it"
        kept = (why for network, why in self._kept.items() if _is_in(address, (network,)))
        return next(kept, "it is private or a sinkhole" if _is_in(address, OWN_NETWORKS) else "")

    def why_shared(self, address: Address, services: int) -> str:
        """Return why an address that the names of so many services answer with is nobody's own."""
        if services > MOST_SERVICES:
            return f"names of {services} services share it"
        return "it belongs to infrastructure that others share" if _is_in(address, self._shared) else ""

    def overlaps(self, prefix: Network) -> bool:
        """Tell whether a network that we list ourselves has an address that must be spared."""
        return _overlaps(prefix, [*self._kept, *OWN_NETWORKS, *map(ipaddress.ip_network, self._seen)])


def _candidates(
    catalogue: Catalogue, policy: Policy, resolved: Mapping[str, Iterable[str]], now_ns: int, profile: Profile
) -> dict[Address, dict[str, str]]:
    """Return the addresses of agents' names, each with a name by service."""
    users: dict[Address, dict[str, str]] = {}
    for name, service_id in names_to_resolve(catalogue, policy, now_ns, profile).items():
        for address in map(ipaddress.ip_address, resolved.get(name, ())):
            users.setdefault(address, {}).setdefault(service_id, name)
    return users


def _published(catalogue: Catalogue, policy: Policy, now_ns: int, profile: Profile) -> Iterator[tuple[Address, str]]:
    """Yield the addresses that vendors publish, each with its service."""
    withheld = withheld_services(policy, now_ns)
    for service in listed_services(catalogue, policy, profile, now_ns):
        if service.id not in withheld:
            yield from ((address, service.id) for address in map(ipaddress.ip_address, service.addresses))


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


def _is_excepted(service: Service, policy: Policy, profile: Profile, now_ns: int) -> bool:
    """Tell whether the networks of a profile may all use a service; those of a list for everybody are not known."""
    return bool(profile.networks) and all(
        any(row.covers_network(network, service, now_ns) for row in policy.exceptions) for network in profile.networks
    )


def _is_listable(name: str, catalogue: Catalogue) -> bool:
    """Tell whether a name that was seen may be listed: nobody else's names, and not known to the catalogue."""
    is_everybodys = is_public_suffix(name) or any(parent in catalogue.shared for parent in ancestors(name))
    return "." in name and not is_everybodys and catalogue.match(name) is None


def _overlaps(prefix: Network, networks: Iterable[Network]) -> bool:
    return any(prefix.version == network.version and prefix.overlaps(network) for network in networks)


def _shared(catalogue: Catalogue) -> dict[str, NameEntry]:
    return {name: NameEntry(name, Scope.EXACT, "") for name in catalogue.shared}


def _service_entries(service: Service, roles: frozenset[Role]) -> list[NameEntry]:
    """Return the entries of those who have one of these roles; a name of agents and visitors is of both."""
    visitors = set(service.endpoint_domains)
    agents = [entry for kind, entry in service.entries() if kind is ListKind.AGENT]
    both = visitors.intersection(agents)
    found = _entries(both, service.id, Role.UNCLEAR) if roles & {Role.AGENT, Role.VISITOR} else []
    if Role.AGENT in roles:
        found += _entries((entry for entry in agents if entry not in both), service.id, Role.AGENT)
    if Role.VISITOR in roles:
        rest = (entry for entry in service.endpoint_domains if entry not in both and "." in entry)  # not all of onion
        found += _entries(rest, service.id, Role.VISITOR)
    if Role.AUXILIARY in roles:
        found += _entries(service.auxiliary_domains, service.id, Role.AUXILIARY)
    return found


def _dialled_names(service: Service) -> list[str]:
    agents = (entry for kind, entry in service.entries() if kind is ListKind.AGENT)
    exact = [entry.name for entry in _entries(agents, service.id, Role.AGENT) if entry.scope is Scope.EXACT]
    return exact + [normalise(name) for name in service.sni if not any(mark in name for mark in "<>*")]


def _is_agent_name(name: str, catalogue: Catalogue) -> bool:
    """Tell whether the catalogue's verdict on `name` is an agent: some agents' SNI is also their vendor's web site."""
    match = catalogue.match(name)
    return match is not None and ListKind.AGENT in match.kinds


def _entries(listed: Iterable[str], service: str, role: Role) -> list[NameEntry]:
    return [
        NameEntry(normalise(entry.removeprefix(EXACT_MARK)), _scope(entry), service, role=role)
        for entry in listed
        if not any(wildcard in entry for wildcard in WILDCARDS)
    ]


def _scope(entry: str) -> Scope:
    return Scope.EXACT if entry.startswith(EXACT_MARK) else Scope.SUBTREE


def _is_protected(name: str, protected: Mapping[str, NameEntry]) -> bool:
    if name in protected:
        return True
    return any(parent in protected and protected[parent].scope is Scope.SUBTREE for parent in ancestors(name))


def _narrow(entries: Iterable[NameEntry], above_protected: set[str]) -> list[NameEntry]:
    return [
        msgspec.structs.replace(entry, scope=Scope.EXACT) if entry.name in above_protected else entry
        for entry in entries
    ]


def _minimise(entries: Sequence[NameEntry]) -> tuple[NameEntry, ...]:
    """Return the entries without those that a subtree entry of the list covers, sorted; of equal names the first."""
    subtrees = {entry.name for entry in entries if entry.scope is Scope.SUBTREE}
    kept = sorted((entry for entry in entries if not _is_covered(entry, subtrees)), key=attrgetter("name"))
    return tuple(entry for at, entry in enumerate(kept) if not at or kept[at - 1].name != entry.name)


def _is_covered(entry: NameEntry, subtrees: set[str]) -> bool:
    above = ancestors(entry.name)
    return any(parent in subtrees for parent in (above[1:] if entry.scope is Scope.SUBTREE else above))


def _is_in(address: Address, networks: Iterable[Network]) -> bool:
    return any(address.version == network.version and address in network for network in networks)
