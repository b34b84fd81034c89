"""The name that the network's DNS gives an address (PTR, RFC 1035 section 3.5), for hosts that no lease names.

Asked in the thread that names sources, one at a time, an address once in ten minutes. A resolver that does not answer
is left alone for a minute, so a dead one costs a second a minute.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence

import dns.exception
import dns.resolver
from dns.reversename import from_address

from molecatcher.errors import SetupError
from molecatcher.names.resolve import address_of, port_of
from rules.matching.names import fold

MAX_NAMES = 4096
TIMEOUT_S = 1.0
HOLDS_S = 600.0
REST_S = 60.0


class ReverseNames:
    """Names by address, none where there is none: 4,096 at most, the one asked for longest ago goes.

    Raises:
        SetupError: one of `servers` is no address.
    """

    def __init__(self, servers: Sequence[str] = (), now_s: Callable[[], float] = time.monotonic) -> None:
        self.asked = 0
        self.failed = 0
        self._now_s = now_s
        self._rests_until_s = 0.0
        self._names: OrderedDict[str, tuple[str | None, float]] = OrderedDict()
        self._resolver = _resolver(servers)

    def find(self, address: str) -> str | None:
        """Return the name of an address, None if it has none or nobody can say now. Takes a second at most."""
        now_s = self._now_s()
        name, until_s = self._names.get(address, (None, 0.0))
        if now_s < until_s:
            return name
        if self._resolver is None or now_s < self._rests_until_s:
            return None
        self.asked += 1
        try:
            name = self._ask(self._resolver, address)
        except (dns.exception.DNSException, OSError):
            self.failed += 1
            self._rests_until_s = now_s + REST_S
            return None
        self._names[address] = name, now_s + HOLDS_S
        self._names.move_to_end(address)
        if len(self._names) > MAX_NAMES:
            self._names.popitem(last=False)
        return name

    def _ask(self, resolver: dns.resolver.Resolver, address: str) -> str | None:
        try:
            answer = resolver.resolve(from_address(address), "PTR", raise_on_no_answer=False)
        except dns.resolver.NXDOMAIN:
            return None
        found = sorted(fold(row.target.to_text()) for row in answer) if answer.rrset is not None else []
        return found[0] if found else None


def _resolver(servers: Sequence[str]) -> dns.resolver.Resolver | None:
    """Return what asks `servers`, those of the system without any; None where the system has none."""
    resolver = dns.resolver.Resolver(configure=False)
    try:
        resolver.nameservers = [address_of(server) for server in servers]
        resolver.nameserver_ports = {address_of(server): port_of(server) for server in servers}
    except ValueError:
        raise SetupError(f"{', '.join(servers)}: give addresses of DNS servers, such as 192.0.2.53") from None
    if not servers:
        try:
            resolver.read_resolv_conf("/etc/resolv.conf")
        except dns.resolver.NoResolverConfiguration:
            return None
    resolver.lifetime = TIMEOUT_S
    return resolver
