"""Reads a policy: checks what its tables say against the catalogue, and says what to do where they cannot be used.

Pure: text and the day in, an immutable `Policy` out.
"""

import hashlib
import ipaddress
import tomllib
from collections.abc import Iterable
from dataclasses import replace
from datetime import date

import msgspec

from rules.catalogue.catalogue import Catalogue, Network
from rules.catalogue.service import CATEGORIES
from rules.errors import InvalidName, InvalidPolicy
from rules.matching.matcher import EXACT_MARK, is_pattern
from rules.matching.names import is_address, is_at_or_below, normalise
from rules.matching.public_suffix import is_public_suffix
from rules.matching.urls import is_url, parse_url
from rules.policy.covered import covered_entries
from rules.policy.policy import WIDEST, Blocked, Policy, PolicyException, Sanction, day_of
from rules.policy.profiles import BUILT_IN, MAX_PROFILES, Profile, ProfileTable
from rules.policy.tables import BlockedTable, ExceptionTable, PolicyFile, SanctionTable, explain, nearest
from rules.policy.who import read_who
from rules.values.verdict import Decision


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
    policy = Policy(
        sanctions=sanctions,
        exceptions=tuple(reader.exception(at, row) for at, row in enumerate(tables.exception)),
        blocked=tuple(reader.blocked(at, row, sanctions) for at, row in enumerate(tables.blocked)),
        never_blocked=tuple(reader.never_blocked(at, row) for at, row in enumerate(tables.never_blocked)),
        decisions=dict(reader.decision(key, value) for key, value in tables.services.items()),
        profiles=(*BUILT_IN, *reader.profiles(tables.profile)),
        warnings=tuple(reader.warnings),
        digest=hashlib.sha256(text.encode()).hexdigest(),
    )
    return replace(policy, warnings=(*policy.warnings, *blocked_in_vain(policy, catalogue)))


def blocked_in_vain(policy: Policy, catalogue: Catalogue) -> list[str]:
    """Return a sentence for each service that is decided `block` though no list can hold its names: all are patterns.

    Costs a look-up for each name under `[[blocked]]` where there is such a service.
    """
    services = [
        service
        for service in catalogue.services.values()
        if service.agent_patterns and not service.agent_domains and policy.decide(service) is Decision.BLOCK
    ]
    matches = [catalogue.match(row.name) for row in policy.blocked] if services else []
    listed_by_hand = {match.service.id for match in matches if match is not None}
    return [
        f"{service.id} is decided block, but its names ({service.agent_patterns[0]}) are patterns, which no list can "
        "hold: name those that you meet under [[blocked]]"
        for service in services
        if service.id not in listed_by_hand
    ]


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

    def refuse_blocked(self, at: int, sanction: Sanction, blocked: Iterable[Blocked]) -> None:
        """Refuse a sanction of what an entry of `blocked` lists: one of the two must go."""
        for entry in blocked:
            if entry.hits(sanction.domain):
                advice = f"the policy file blocks {entry.name}: change it there first"
                raise self._error(f"sanctioned[{at}].domain", advice)

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
        if _is_network(row.entry):
            network = self._network(f"{key}.entry", row.entry)
            if network.prefixlen < WIDEST[network.version] or not network.is_global:
                raise self._error(f"{key}.entry", f"{network} is private, or too wide for a list: name less")
            return Blocked(row.owner, row.reason, network=network, expires=row.expires)
        name, is_subtree = self._listable(f"{key}.entry", row.entry)
        entry = Blocked(row.owner, row.reason, name, is_subtree, expires=row.expires)
        self._refuse_sanctioned(f"{key}.entry", entry, sanctions)
        return entry

    def never_blocked(self, at: int, row: BlockedTable) -> Blocked:
        """Return the entry that row `at` keeps off every list."""
        key = f"never_blocked[{at}]"
        self._check_texts(key, row.owner, row.reason)
        self._warn_if_expired(key, row.entry, row.expires)
        if is_url(row.entry):
            raise self._error(f"{key}.entry", "is a URL: name its host")
        if _is_network(row.entry):
            network = self._network(f"{key}.entry", row.entry)
            if network.prefixlen < WIDEST[network.version]:
                raise self._error(f"{key}.entry", f"{network} would empty the list: name less")
            return Blocked(row.owner, row.reason, network=network, expires=row.expires)
        name = self._name(f"{key}.entry", row.entry.removeprefix(EXACT_MARK))
        if is_public_suffix(name):
            raise self._error(f"{key}.entry", f"{name} is a public suffix: everybody's names lie below it; name yours")
        return Blocked(row.owner, row.reason, name, not row.entry.startswith(EXACT_MARK), expires=row.expires)

    def _blocked_url(self, key: str, row: BlockedTable, sanctions: Iterable[Sanction]) -> Blocked:
        try:
            host, path = parse_url(row.entry)
        except InvalidName as error:
            raise self._error(key, str(error)) from None
        entry = Blocked(row.owner, row.reason, host, is_subtree=False, expires=row.expires, path=path)
        self._refuse_sanctioned(key, entry, sanctions)
        return entry

    def _refuse_sanctioned(self, key: str, entry: Blocked, sanctions: Iterable[Sanction]) -> None:
        for sanction in sanctions:
            if entry.hits(sanction.domain):
                raise self._error(key, f"{entry.name} would block {sanction.domain}, which is sanctioned")

    def profiles(self, rows: list[ProfileTable]) -> list[Profile]:
        """Return the built-in profiles with those of `rows`."""
        if len(rows) > MAX_PROFILES:
            raise self._error("profile", f"{len(rows)} are more than are built ({MAX_PROFILES}): leave some out")
        self.refuse_twice([row.name for row in rows], "profile")
        return [self.profile(at, row) for at, row in enumerate(rows)]

    def profile(self, at: int, row: ProfileTable) -> Profile:
        """Return the profile that row `at` describes."""
        key = f"profile[{at}]"
        services = frozenset(self.service_or_category(f"{key}.services", text) for text in row.services)
        try:
            return row.profile(services, tuple(self._network(f"{key}.networks", text) for text in row.networks))
        except InvalidName as error:
            raise self._error(key, str(error)) from None

    def _listable(self, key: str, entry: str) -> tuple[str, bool]:
        """Return the name of an entry that may be listed, and whether it stands for those below it."""
        name = self._name(key, entry.removeprefix(EXACT_MARK))
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

    def _name(self, key: str, text: str) -> str:
        try:
            return normalise(text)
        except InvalidName as error:
            raise self._error(key, f"{error}; give a name, or =name for that name alone") from None

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
        if match is not None and is_pattern(match.entry):
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
        return InvalidPolicy(f"{self.file_name}: {key}: {message}", key=key, detail=message)


def _is_network(entry: str) -> bool:
    return "/" in entry or is_address(entry)
