"""Name resolution with dnspython: addresses of both families, many names at once; name servers of a zone."""

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import dns.asyncresolver
import dns.exception
import dns.rdatatype
import dns.resolver
import structlog

from db.lists.values import Resolution
from molecatcher.errors import SetupError
from rules.matching.names import fold

log = structlog.get_logger()

RESOLVED_CONFIGURATION = "/run/systemd/resolve/resolv.conf"
AT_ONCE = 16
TIMEOUT_S = 5.0
FAMILIES = (dns.rdatatype.A, dns.rdatatype.AAAA)


class NameServers(NamedTuple):
    """The name servers of a zone and for how many seconds they hold; none: it is no zone."""

    names: tuple[str, ...] = ()
    ttl_s: int = 0


class NameResolver:
    """Resolves through `servers`, all of them, whose answers are united (none: those of the system, one after another).

    At most 16 names are under way at once; a name takes at most two timeouts of 5 s.
    """

    def __init__(
        self, servers: Sequence[str] = (), timeout_s: float = TIMEOUT_S, spell: Callable[[str], str] = str
    ) -> None:
        """Configure the resolver; `spell` says in which upper and lower case names are asked for.

        Raises:
            SetupError: one of `servers` is no address.
        """
        self._spell = spell
        self._is_systems = not servers
        self._resolver = dns.asyncresolver.Resolver(configure=False)
        self._resolver.lifetime = timeout_s
        self._resolver.cache = None
        try:
            self._resolver.nameservers = [address_of(server) for server in servers]
            self._resolver.nameserver_ports = {address_of(server): port_of(server) for server in servers}
            self._each = [_alone(server, timeout_s) for server in servers] if len(servers) > 1 else [self._resolver]
        except ValueError:
            raise SetupError(f"{', '.join(servers)}: give addresses of DNS servers, such as 192.0.2.53") from None
        self.shortest_ttl_s: int | None = None

    def resolve(self, names: Iterable[str]) -> list[Resolution]:
        """Return an answer for each name: the addresses that any server has; `ok` is false where none said for sure.

        `shortest_ttl_s` is how long all of it holds, None when no name has an address.
        """
        if self._is_systems:
            self._follow_system()
        self.shortest_ttl_s = None
        return asyncio.run(self._resolve_all(sorted(set(names))))

    def _follow_system(self) -> None:
        """Take the servers that the system has now: networks change while we run; without any, no name is answered."""
        try:
            self._resolver.read_resolv_conf(_system_configuration())
        except dns.resolver.NoResolverConfiguration as error:
            log.warning("no_resolver", error=str(error))
            self._resolver.nameservers = []

    def name_servers(self, zone: str) -> NameServers | None:
        """Return the name servers of `zone`, none if it is no zone, None if nobody could say."""
        if self._is_systems:
            self._follow_system()
        return asyncio.run(self._name_servers(zone))

    async def _resolve_all(self, names: Sequence[str]) -> list[Resolution]:
        slots = asyncio.Semaphore(AT_ONCE)

        async def one(name: str) -> Resolution:
            async with slots:
                return await self._resolve_one(name)

        return await asyncio.gather(*(one(name) for name in names))

    async def _resolve_one(self, name: str) -> Resolution:
        answers = [await self._united(name, family) for family in FAMILIES]
        found = {address for addresses in answers for address in addresses or ()}
        is_definitive = all(addresses is not None for addresses in answers)
        return Resolution(name, tuple(sorted(found)), time.time_ns(), ok=is_definitive)

    async def _united(self, name: str, family: dns.rdatatype.RdataType) -> set[str] | None:
        """Return the addresses that any server has for the name, None if no server could say."""
        answers = await asyncio.gather(*(self._addresses(server, name, family) for server in self._each))
        said = [addresses for addresses in answers if addresses is not None]
        return set(chain.from_iterable(said)) if said else None

    async def _name_servers(self, zone: str) -> NameServers | None:
        try:
            answer = await self._resolver.resolve(f"{self._spell(zone)}.", dns.rdatatype.NS, raise_on_no_answer=False)
        except dns.resolver.NXDOMAIN:
            return NameServers()
        except (dns.exception.DNSException, OSError):
            return None
        if answer.rrset is None or fold(answer.rrset.name.to_text()) != zone:
            return NameServers()
        return NameServers(tuple(sorted(fold(row.target.to_text()) for row in answer)), answer.rrset.ttl)

    async def _addresses(
        self, server: dns.asyncresolver.Resolver, name: str, family: dns.rdatatype.RdataType
    ) -> list[str] | None:
        """Return the addresses of one family, none if the name has none, None if the server could not say."""
        try:
            answer = await server.resolve(f"{self._spell(name)}.", family, raise_on_no_answer=False)
        except dns.resolver.NXDOMAIN:
            return []
        except (dns.exception.DNSException, OSError):
            return None
        if answer.rrset is None:
            return []
        self.shortest_ttl_s = min(answer.rrset.ttl, self.shortest_ttl_s or answer.rrset.ttl)
        return [row.address for row in answer]


def _alone(server: str, timeout_s: float) -> dns.asyncresolver.Resolver:
    """Return what asks this server and no other."""
    resolver = dns.asyncresolver.Resolver(configure=False)
    resolver.lifetime, resolver.cache = timeout_s, None
    resolver.nameservers, resolver.port = [address_of(server)], port_of(server)
    return resolver


def _system_configuration() -> str:
    """Return the file that names the real servers; beside systemd-resolved /etc/resolv.conf names its stub."""
    return RESOLVED_CONFIGURATION if Path(RESOLVED_CONFIGURATION).exists() else "/etc/resolv.conf"


def address_of(server: str) -> str:
    """Return the address in `ADDRESS` or `ADDRESS#PORT`; anything else raises ValueError where it is used."""
    return server.rpartition("#")[0] or server


def port_of(server: str) -> int:
    """Return the port in `ADDRESS#PORT`, 53 without."""
    return int(server.rpartition("#")[2]) if "#" in server else 53
