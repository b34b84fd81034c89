"""What may be wrong with entries of the catalogue although they can be read: `molecatcher catalogue test`."""

import ipaddress
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from rules.catalogue.catalogue import Catalogue
from rules.catalogue.service import ListKind, Service
from rules.matching.matcher import EXACT_MARK, is_pattern
from rules.matching.names import ancestors, fold, is_at_or_below
from rules.matching.public_suffix import is_registry_suffix

NO_REGISTRY = frozenset({"onion"})  # RFC 7686: nobody registers names below it


class Level(StrEnum):
    """An error makes the test fail; a warning is to be looked at once."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with `key` of a service, and what follows."""

    service: str
    level: Level
    key: str
    message: str


def check_catalogue(catalogue: Catalogue, sanctioned: Iterable[str], only: Iterable[str] = ()) -> list[Problem]:
    """Return the problems of the services with the ids `only`, of all where there are none.

    `sanctioned` are the names that the policy sanctions.
    """
    wanted, names = set(only), list(sanctioned)
    owners = _owners(catalogue)
    found: list[Problem] = []
    for service in catalogue.services.values():
        if not wanted or service.id in wanted:
            found += _check_examples(service, catalogue)
            found += _check_names(service, catalogue, owners)
            found += _check_addresses(service, catalogue)
            found += _check_tells(service, catalogue)
            found += _check_policy(service, names)
    return found


def _check_examples(service: Service, catalogue: Catalogue) -> Iterator[Problem]:
    for kind in (ListKind.AGENT, ListKind.ENDPOINT, ListKind.AUXILIARY):
        for name in getattr(service.examples, kind.value):
            match = catalogue.match(fold(name))
            if match is None or match.service.id != service.id or kind not in match.kinds:
                said = "nothing" if match is None else f"{match.service.id} ({', '.join(sorted(match.kinds))})"
                yield Problem(service.id, Level.ERROR, f"examples.{kind.value}", f"{name} matches {said}")
    for name in service.near_misses:
        match = catalogue.match(fold(name))
        if match is not None and match.service.id == service.id:
            yield Problem(service.id, Level.ERROR, "near_misses", f"{name} matches the entry {match.entry}")


def _check_names(service: Service, catalogue: Catalogue, owners: dict[str, set[str]]) -> Iterator[Problem]:
    for kind, entry in service.entries():
        key, name = f"{kind.value} name {entry}", entry.removeprefix(EXACT_MARK)
        if kind is ListKind.EXCLUDED or is_pattern(entry):
            continue
        if is_registry_suffix(name) and name not in NO_REGISTRY:
            yield Problem(service.id, Level.ERROR, key, "a public suffix: everybody's names lie below it")
        elif (shared := _covered(entry, catalogue.shared)) is not None:
            yield Problem(service.id, Level.ERROR, key, f"it covers {shared}, which many services share")
        others = {other for parent in ancestors(name) for other in owners.get(parent, ())} - {service.id}
        if entry.startswith(EXACT_MARK):
            others |= owners.get(entry, set()) - {service.id}
        if others:
            message = f"it lies at or below a name of {', '.join(sorted(others))}; the more specific entry decides"
            yield Problem(service.id, Level.WARNING, key, message)


def _covered(entry: str, names: Iterable[str]) -> str | None:
    """Return which of `names` an entry of agents, visitors or updates would match, if any."""
    if entry.startswith(EXACT_MARK):
        return entry[1:] if entry[1:] in set(names) else None
    return next((name for name in sorted(names) if is_at_or_below(name, entry)), None)


def _check_addresses(service: Service, catalogue: Catalogue) -> Iterator[Problem]:
    """Yield networks that hold others' addresses; a single address is somebody's on purpose."""
    for text in service.addresses:
        network = ipaddress.ip_network(text)
        for shared in catalogue.shared_networks:
            if network.num_addresses > 1 and network.version == shared.version and network.overlaps(shared):
                yield Problem(service.id, Level.WARNING, f"addresses {text}", f"lies in {shared}, which many share")


def _check_tells(service: Service, catalogue: Catalogue) -> Iterator[Problem]:
    for key in ("alpn", "ja4"):
        for value in getattr(service, key):
            others = [
                row.id for row in catalogue.services.values() if value in getattr(row, key) and row.id != service.id
            ]
            if others:
                yield Problem(service.id, Level.ERROR, f"{key} {value}", f"{', '.join(others)} has it too: one may")


def _check_policy(service: Service, sanctioned: Iterable[str]) -> Iterator[Problem]:
    """Yield entries with a sanctioned name below them; one that lies below such a name is refused with the policy."""
    for name in sanctioned:
        for kind, entry in service.entries():
            if kind is not ListKind.EXCLUDED and is_at_or_below(name, entry):
                message = f"the policy sanctions {name} below it, which wins"
                yield Problem(service.id, Level.WARNING, f"{kind.value} name {entry}", message)


def _owners(catalogue: Catalogue) -> dict[str, set[str]]:
    """Return which services list each entry, those with a subtree by its name."""
    owners: dict[str, set[str]] = {}
    for service in catalogue.services.values():
        for kind, entry in service.entries():
            if kind is not ListKind.EXCLUDED and not is_pattern(entry):
                owners.setdefault(entry, set()).add(service.id)
    return owners
