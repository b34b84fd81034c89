"""Builds the list of addresses of a profile: which names are to be resolved, and what their addresses make."""

import ipaddress
from collections.abc import Iterable, Iterator, Mapping
from operator import attrgetter

from rules.catalogue.catalogue import Catalogue, Network
from rules.catalogue.service import ListKind, Service
from rules.lists.blocklist import OURS, OWN_NETWORKS, AddressEntry, AddressList, Origin, Scope, WithheldAddress
from rules.lists.building import because, entries_of, is_among, listed_services, protected_names, shared_names
from rules.matching.names import normalise
from rules.policy.policy import Policy
from rules.policy.profiles import AGENTS_ONLY, Profile
from rules.values.verdict import Decision, Role

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# An address that the names of more services than this answer with is a sinkhole, or a host that others share.
MOST_SERVICES = 3
SANCTIONED = "a sanctioned name resolves to it, or was seen at it"
OWN = "it is private or a sinkhole"


def build_addresses(
    catalogue: Catalogue,
    policy: Policy,
    now_ns: int,
    profile: Profile = AGENTS_ONLY,
    *,
    resolved: Mapping[str, Iterable[str]],
    sanctioned: Iterable[str],
) -> AddressList:
    """Return the addresses to block: those that agents' names resolve to, and those that their vendors publish.

    Args:
        catalogue: the services.
        policy: the decisions, and the pins, which are never blocked.
        now_ns: which sanctions hold.
        profile: which services are taken.
        resolved: addresses as text by name; names that `names_to_resolve` does not list are ignored.
        sanctioned: addresses that sanctioned names resolve to or were seen at: never blocked.
    """
    sparing = _Sparing(catalogue, policy, sanctioned, now_ns)
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
        if row.network is None:
            continue
        prefix, why = str(row.network), sparing.why_network(row.network)
        if why:
            spared.append(WithheldAddress(prefix, "", OURS, why))
        else:
            rows[prefix] = AddressEntry(prefix, OURS, Origin.MANUAL, because(row), expires_ns=row.ends_at_ns)
    return AddressList(
        blocked=tuple(sorted(rows.values())),
        withheld=withheld_services(policy, now_ns),
        spared=tuple(sorted(spared, key=attrgetter("address"))),
    )


def names_to_resolve(
    catalogue: Catalogue, policy: Policy, now_ns: int, profile: Profile = AGENTS_ONLY
) -> dict[str, str]:
    """Return the names whose addresses belong on the address list, with their service id.

    Only names that agents dial are resolved (exact entries and the SNI seen of them): the apex of a subtree is often
    the vendor's web site. Services in `withheld_services` are left out whole.
    """
    withheld = withheld_services(policy, now_ns)
    untouchable = {**shared_names(catalogue), **protected_names(catalogue, policy, now_ns)}
    return {
        name: service.id
        for service in listed_services(catalogue, policy, profile, now_ns)
        if service.id not in withheld
        for name in _dialled_names(service)
        if not is_among(name, untouchable) and _is_agent_name(name, catalogue)
    }


def names_to_spare(catalogue: Catalogue, policy: Policy, now_ns: int) -> list[str]:
    """Return the names whose addresses are never blocked: sanctioned ones, what their agents need, and the policy's."""
    return list(protected_names(catalogue, policy, now_ns))


def withheld_services(policy: Policy, now_ns: int) -> dict[str, str]:
    """Return the services whose addresses are not published, with the reason."""
    return {
        sanction.service: f"{sanction.domain} is sanctioned and pins no addresses: it may share them with the service"
        for sanction in policy.active_sanctions(now_ns)
        if not sanction.addresses
    }


class _Sparing:
    """Says which addresses are not listed, and why."""

    def __init__(self, catalogue: Catalogue, policy: Policy, sanctioned: Iterable[str], now_ns: int) -> None:
        self._seen = frozenset(map(ipaddress.ip_address, sanctioned))
        self._kept = policy.spared_networks(now_ns)
        self._shared = catalogue.shared_networks

    def why(self, address: Address) -> str:
        """Return why an address is spared, whoever says that it is an agent's; an empty text if it is not."""
        if address in self._seen:
            return SANCTIONED
        kept = (why for network, why in self._kept.items() if _is_in(address, (network,)))
        return next(kept, OWN if _is_in(address, OWN_NETWORKS) else "")

    def why_shared(self, address: Address, services: int) -> str:
        """Return why an address that the names of so many services answer with is nobody's own."""
        if services > MOST_SERVICES:
            return f"names of {services} services share it"
        return "it belongs to infrastructure that others share" if _is_in(address, self._shared) else ""

    def why_network(self, prefix: Network) -> str:
        """Return why a network that we list ourselves is spared: for any address of it."""
        seen = dict.fromkeys(map(ipaddress.ip_network, self._seen), SANCTIONED)
        own = dict.fromkeys(OWN_NETWORKS, OWN)
        rows = {**own, **self._kept, **seen}.items()
        return next((why for network, why in rows if _overlap(prefix, network)), "")


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


def _overlap(one: Network, other: Network) -> bool:
    return one.version == other.version and one.overlaps(other)


def _dialled_names(service: Service) -> list[str]:
    agents = (entry for kind, entry in service.entries() if kind is ListKind.AGENT)
    exact = [entry.name for entry in entries_of(agents, service.id, Role.AGENT) if entry.scope is Scope.EXACT]
    return exact + [normalise(name) for name in service.sni if not any(mark in name for mark in "<>*")]


def _is_agent_name(name: str, catalogue: Catalogue) -> bool:
    """Tell whether the catalogue's verdict on `name` is an agent: some agents' SNI is also their vendor's web site."""
    match = catalogue.match(name)
    return match is not None and ListKind.AGENT in match.kinds


def _is_in(address: Address, networks: Iterable[Network]) -> bool:
    return any(address.version == network.version and address in network for network in networks)
