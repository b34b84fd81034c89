"""Builds the lists of names and URLs of a profile from catalogue, policy and findings."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from operator import attrgetter

import msgspec

from rules.catalogue.catalogue import Catalogue
from rules.catalogue.service import ListKind, Service
from rules.lists.blocklist import OURS, NameEntry, NameList, Origin, Scope, UrlEntry, UrlList, shared
from rules.matching.matcher import EXACT_MARK, is_pattern
from rules.matching.names import ancestors, normalise
from rules.matching.public_suffix import is_public_suffix
from rules.policy.policy import Blocked, Policy
from rules.policy.profiles import AGENTS_ONLY, Profile
from rules.values.verdict import Role


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
    listed += map(_own_entry, _own_names(policy, now_ns))
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
        f"{row.name}{row.path}": UrlEntry(f"{row.name}{row.path}", OURS, reason=because(row), expires_ns=row.ends_at_ns)
        for row in policy.active_blocked(now_ns)
        if row.path and not is_among(row.name, protected)
    }
    return UrlList(names.blocked, tuple(sorted(urls.values())))


def narrow_names(
    listed: NameList, catalogue: Catalogue, policy: Policy, now_ns: int, profile: Profile = AGENTS_ONLY
) -> NameList:
    """Return a list that was published earlier without what must be spared now: nothing is added to it."""
    services = listed_services(catalogue, policy, profile, now_ns)
    return _name_list(listed.wide, services, catalogue, policy, now_ns)


def narrow_urls(
    listed: UrlList, catalogue: Catalogue, policy: Policy, now_ns: int, profile: Profile = AGENTS_ONLY
) -> UrlList:
    """Return a list that was published earlier without what must be spared now, as `narrow_names`."""
    names = narrow_names(NameList(wide=listed.names), catalogue, policy, now_ns, profile)
    protected = {row.name: row for row in names.allowed}
    return UrlList(names.blocked, tuple(row for row in listed.urls if not is_among(row.host, protected)))


def _name_list(
    listed: Sequence[NameEntry], services: Sequence[Service], catalogue: Catalogue, policy: Policy, now_ns: int
) -> NameList:
    protected = protected_names(catalogue, policy, now_ns)
    untouchable = {**shared_names(catalogue), **protected}
    wide = [entry for entry in listed if not is_among(entry.name, untouchable)]
    exempt = _exempted_sites(wide, services, policy, now_ns)
    above = {parent for name in untouchable for parent in ancestors(name)}
    widest = _minimise(wide)
    is_narrower = any(entry.name in above for entry in wide)
    return NameList(
        blocked=shared(_minimise(_narrow(wide, above)), widest) if is_narrower else widest,
        wide=widest,
        allowed=_minimise([*protected.values(), *exempt]),
    )


def _exempted_sites(
    wide: Iterable[NameEntry], services: Iterable[Service], policy: Policy, now_ns: int
) -> list[NameEntry]:
    """Return what services exclude, where an entry of the catalogue would block it and none of the policy does."""
    sites = [entry for service in services for entry in entries_of(service.exclude_domains, service.id, Role.AGENT)]
    above = {parent for site in sites for parent in ancestors(site.name)}
    theirs = {entry.name: entry for entry in wide if entry.source is Origin.CATALOGUE and entry.name in above}
    ours = {row.name: _own_entry(row) for row in _own_names(policy, now_ns) if row.name in above}
    return [site for site in sites if is_among(site.name, theirs) and not is_among(site.name, ours)]


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
        for entry in entries_of(needed, sanction.service, Role.AUXILIARY):
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


def because(row: Blocked) -> str:
    """Return why the policy blocks something, and who answers for it."""
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


def shared_names(catalogue: Catalogue) -> dict[str, NameEntry]:
    """Return the names of infrastructure that others share."""
    return {name: NameEntry(name, Scope.EXACT, "") for name in catalogue.shared}


def _own_names(policy: Policy, now_ns: int) -> Iterator[Blocked]:
    return (row for row in policy.active_blocked(now_ns) if row.name and not row.path)


def _own_entry(row: Blocked) -> NameEntry:
    scope = Scope.SUBTREE if row.is_subtree else Scope.EXACT
    return NameEntry(row.name, scope, OURS, Origin.MANUAL, because(row), expires_ns=row.ends_at_ns)


def _service_entries(service: Service, roles: frozenset[Role]) -> list[NameEntry]:
    """Return the entries of those who have one of these roles; a name of agents and visitors is of both."""
    visitors = set(service.endpoint_domains)
    agents = [entry for kind, entry in service.entries() if kind is ListKind.AGENT]
    both = visitors.intersection(agents)
    found = entries_of(both, service.id, Role.UNCLEAR) if roles & {Role.AGENT, Role.VISITOR} else []
    if Role.AGENT in roles:
        found += entries_of((entry for entry in agents if entry not in both), service.id, Role.AGENT)
    if Role.VISITOR in roles:
        rest = (entry for entry in service.endpoint_domains if entry not in both and "." in entry)  # not all of onion
        found += entries_of(rest, service.id, Role.VISITOR)
    if Role.AUXILIARY in roles:
        found += entries_of(service.auxiliary_domains, service.id, Role.AUXILIARY)
    return found


def entries_of(listed: Iterable[str], service: str, role: Role) -> list[NameEntry]:
    """Return entries of a service in the catalogue as those of a list; patterns are none."""
    return [
        NameEntry(normalise(entry.removeprefix(EXACT_MARK)), _scope(entry), service, role=role)
        for entry in listed
        if not is_pattern(entry)
    ]


def _scope(entry: str) -> Scope:
    return Scope.EXACT if entry.startswith(EXACT_MARK) else Scope.SUBTREE


def is_among(name: str, entries: Mapping[str, NameEntry]) -> bool:
    """Tell whether a name is one of these or, of subtrees, below one."""
    if name in entries:
        return True
    return any(parent in entries and entries[parent].scope is Scope.SUBTREE for parent in ancestors(name))


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
