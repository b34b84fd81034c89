"""What two catalogues have different."""

from collections.abc import Iterable
from dataclasses import dataclass

import msgspec

from rules.catalogue.catalogue import Catalogue
from rules.catalogue.service import Service

WHOLE = "service"
SHARED = "shared infrastructure"
_FIELDS = tuple(field.name for field in msgspec.structs.fields(Service) if field.name not in ("id", "examples"))


@dataclass(frozen=True, slots=True)
class Change:
    """What a field of a service lost and gained; `field` is `service` where the whole service came or went."""

    service: str
    field: str
    removed: tuple[str, ...]
    added: tuple[str, ...]


def diff(old: Catalogue, new: Catalogue) -> list[Change]:
    """Return what `new` has otherwise than `old`, by service, then by field."""
    changes: list[Change] = []
    for service_id in sorted({*old.services, *new.services}):
        before, after = old.services.get(service_id), new.services.get(service_id)
        if before is None or after is None:
            gone, come = (_names(before), _names(after))
            changes.append(Change(service_id, WHOLE, gone, come))
        else:
            changes += _between(before, after)
    changes += _change(SHARED, "names", old.shared, new.shared)
    changes += _change(SHARED, "look-up services", old.lookup_services, new.lookup_services)
    changes += _change(SHARED, "networks", map(str, old.shared_networks), map(str, new.shared_networks))
    return changes


def _between(before: Service, after: Service) -> list[Change]:
    found: list[Change] = []
    for name in _FIELDS:
        old, new = getattr(before, name), getattr(after, name)
        if isinstance(old, tuple):
            found += _change(before.id, name, old, new)
        elif old != new:
            found.append(Change(before.id, name, (str(old),), (str(new),)))
    return found


def _change(service: str, field: str, old: Iterable[str], new: Iterable[str]) -> list[Change]:
    before, after = list(old), list(new)
    removed = tuple(value for value in before if value not in after)
    added = tuple(value for value in after if value not in before)
    return [Change(service, field, removed, added)] if removed or added else []


def _names(service: Service | None) -> tuple[str, ...]:
    return () if service is None else tuple(dict.fromkeys(entry for _, entry in service.entries())) or (service.name,)
