"""The catalogue of tunnel services: one TOML file a service, loaded, validated and indexed once."""

import ipaddress
import re
import tomllib
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from importlib.resources import files
from importlib.resources.abc import Traversable
from types import MappingProxyType
from typing import Any

import msgspec

from rules.catalogue.additions import with_additions
from rules.catalogue.service import ListKind, Service, read_service
from rules.errors import InvalidCatalogue, InvalidName
from rules.matching.matcher import NameTable
from rules.matching.names import normalise

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
KNOWN_NAMES = 16_384
OLD_AFTER_DAYS = 90
NS_PER_S = 1_000_000_000
SHARED_FILE, SERVICE_FOLDER = "shared_infrastructure.toml", "services/"
_VERSION = re.compile(r"(\d{4})\.(\d{2})\.(\d{2})(?:\.(\d{1,4}))?", re.ASCII)


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
    """All services, indexed by name, by name server, by ALPN and by their agents' JA4. Immutable once built.

    `additions` are the files of the organisation's own in it; `is_updated`: it did not come with the program.
    Below `lookup_services` programs ask ever different names on purpose.
    """

    def __init__(
        self,
        services: Iterable[Service],
        shared: Iterable[str],
        shared_networks: Iterable[Network],
        generated: date,
        *,
        version: str = "",
        lookup_services: Iterable[str] = (),
        additions: Iterable[str] = (),
        is_updated: bool = False,
    ) -> None:
        self.services: Mapping[str, Service] = MappingProxyType({service.id: service for service in services})
        self.shared: frozenset[str] = frozenset(shared)
        self.shared_networks = tuple(shared_networks)
        self.lookup_services: frozenset[str] = frozenset(lookup_services)
        self.generated = generated
        self.version = version
        self.additions = tuple(additions)
        self.is_updated = is_updated
        self.by_alpn = {alpn: service for service in self.services.values() for alpn in service.alpn}
        self.by_ja4 = {ja4: service for service in self.services.values() for ja4 in service.ja4}
        self.by_fallback: dict[str, tuple[Service, ...]] = {}  # by name, or address and port
        for service in self.services.values():
            for place in service.fallbacks:
                self.by_fallback[place] = (*self.by_fallback.get(place, ()), service)
        self._table: NameTable[Listing] = NameTable()
        self._servers: NameTable[Service] = NameTable()
        self._known: dict[str, Match | None] = {}  # answers of `match`: names come again and again
        for service in self.services.values():
            for kind, entry in service.entries():
                self._table.add(entry, Listing(service, kind, entry))
            for entry in service.ns_domains:
                self._servers.add(entry, service)

    @property
    def origin(self) -> str:
        """Return where the catalogue is from, for people."""
        return "an update" if self.is_updated else "the program"

    def age_days(self, now_ns: int) -> int:
        """Return how many days ago it was made; 0 where that lies ahead."""
        today = datetime.fromtimestamp(now_ns // NS_PER_S, UTC).date()
        return max(0, (today - self.generated).days)

    def is_old(self, now_ns: int) -> bool:
        """Tell whether services are likely to have other names by now."""
        return self.age_days(now_ns) > OLD_AFTER_DAYS

    def warning(self, now_ns: int) -> str:
        """Return a sentence if the catalogue is old, else nothing."""
        if not self.is_old(now_ns):
            return ""
        advice = "`molecatcher catalogue update` takes a newer one, or upgrade Molecatcher"
        return (
            f"the catalogue {self.version} is {self.age_days(now_ns)} days old, and names of tunnels change: {advice}"
        )

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

    def ends(self) -> set[str]:
        """Return what a name that `match` knows is, or is below (`NameTable.ends`)."""
        return self._table.ends()

    def is_excluded(self, name: str, service_id: str) -> bool:
        """Tell whether the service excludes folded `name`, however near another entry is. Costs O(labels)."""
        return any(
            listing.kind is ListKind.EXCLUDED and listing.service.id == service_id
            for listings in self._table.matches(name)
            for listing in listings
        )

    def is_shared_address(self, packed: bytes) -> bool:
        """Tell whether a packed address is one at which many customers' names are served."""
        address = ipaddress.ip_address(packed)
        return any(address.version == network.version and address in network for network in self.shared_networks)

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


def load_catalogue(root: Traversable | None = None) -> Catalogue:
    """Return the catalogue below `root` (`services/*.toml`, `shared_infrastructure.toml`); None: the one shipped here.

    Raises:
        InvalidCatalogue: a file is missing or wrong.
    """
    return build_catalogue(read_files(root))


def read_files(root: Traversable | None = None) -> dict[str, str]:
    """Return the text of the files below `root`, by their path from there; None: those shipped here.

    Raises:
        InvalidCatalogue: a file is missing or cannot be read.
    """
    base = root or files("rules.catalogue")
    try:
        paths = [path for path in (base / "services").iterdir() if path.name.endswith(".toml")]
        services = {f"{SERVICE_FOLDER}{path.name}": path.read_text(encoding="utf-8") for path in paths}
        return {SHARED_FILE: (base / SHARED_FILE).read_text(encoding="utf-8"), **services}
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidCatalogue(f"the catalogue in {base} cannot be read: {error}; reinstall Molecatcher") from error


def build_catalogue(
    texts: Mapping[str, str], additions: Mapping[str, str] = MappingProxyType({}), *, is_updated: bool = False
) -> Catalogue:
    """Return the catalogue that files hold, with `additions` of the organisation's own (`rules.catalogue.additions`).

    Raises:
        InvalidCatalogue: a file is wrong; the message names file and key.
    """
    shared = _read_table(texts.get(SHARED_FILE, ""), SHARED_FILE)
    rows = {
        path.removeprefix(SERVICE_FOLDER).removesuffix(".toml"): _read_table(text, path.removeprefix(SERVICE_FOLDER))
        for path, text in sorted(texts.items())
        if path.startswith(SERVICE_FOLDER)
    }
    if not rows:
        raise InvalidCatalogue("the catalogue holds no service; reinstall Molecatcher")
    services = {service_id: read_service(table, f"{service_id}.toml", service_id) for service_id, table in rows.items()}
    services = with_additions(rows, services, additions)
    try:
        names = [normalise(row["domain"]) for row in shared["shared"]]
        lookup_services = [normalise(row["domain"]) for row in shared["lookup_service"]]
        networks = [ipaddress.ip_network(prefix) for row in shared["shared_network"] for prefix in row["prefixes"]]
        generated, version = shared["generated"], shared["version"]
        version_key(version)
    except (KeyError, TypeError, ValueError, InvalidName) as error:
        raise InvalidCatalogue(f"{SHARED_FILE}: {error} is missing or wrong; reinstall Molecatcher") from None
    return Catalogue(
        services.values(),
        names,
        networks,
        generated,
        version=version,
        lookup_services=lookup_services,
        additions=additions,
        is_updated=is_updated,
    )


def version_key(version: str) -> tuple[int, ...]:
    """Return what orders versions, such as 2026.11.23 and 2026.11.23.2.

    Raises:
        ValueError: it is no version.
    """
    found = _VERSION.fullmatch(version)
    if found is None:
        raise ValueError(f"version {version!r}, which is not written as 2026.11.23 or 2026.11.23.2,")
    return tuple(int(part or 0) for part in found.groups())


def _read_table(text: str, file_name: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidCatalogue(f"{file_name}: {error}") from None
