"""How often somebody may ask: those we know by who they are, those we do not by their address.

A good credential is never refused for what others did from its address: a firewall that is refused may stop enforcing.
"""

import ipaddress
import math
import threading
import time

from limits import RateLimitItem, parse

from api.access.addresses import parse_address
from api.access.principal import Principal
from api.problems import Kind, Problem
from db.access_values import ActorKind

MAX_KEYS = 4096
OTHERS = "others"
SITE_BITS = 64  # an IPv6 host has so many addresses that its network counts


class Rates:
    """Counts requests in memory. Of more than `MAX_KEYS` callers the rest share one count."""

    def __init__(self, known: str, unknown: str) -> None:
        """Take two limits such as `600/minute`, as the library `limits` reads them.

        Raises:
            ValueError: one is no limit.
        """
        self._known, self._unknown = _Window("known", parse(known)), _Window("unknown", parse(unknown))

    def count(self, principal: Principal) -> dict[str, str]:
        """Count a request of somebody we know and return the headers that say how many are left.

        Raises:
            Problem: there were too many; nobody on trusted loopback is limited.
        """
        if principal.kind is ActorKind.LOCAL:
            return {}
        return self._known.hit(f"{principal.kind}:{principal.id}")

    def count_unknown(self, address: str) -> None:
        """Count a request that was refused.

        Raises:
            Problem: there were too many.
        """
        self._unknown.hit(_site(address))


class _Window:
    """Everybody's requests since the window began; it is emptied as a whole when it ends, so no request pays for it.

    The storage that the library keeps in memory starts a thread for most requests, which costs more than an answer.
    """

    def __init__(self, kind: str, limit: RateLimitItem) -> None:
        self.counts: dict[str, int] = {}
        self._kind = kind
        self._most, self._length_s = limit.amount, limit.get_expiry()
        self._policy = f'"{kind}";q={self._most};w={self._length_s}'
        self._ends_at_s = 0.0
        self._counting = threading.Lock()  # two listeners have a thread each

    def hit(self, who: str) -> dict[str, str]:
        """Count a request and return the headers that say how many are left.

        Raises:
            Problem: there are none left.
        """
        now_s = time.monotonic()
        count = self._count(who, now_s)
        reset_s = max(1, math.ceil(self._ends_at_s - now_s))
        left = f'"{self._kind}";r={max(0, self._most - count)};t={reset_s}'
        headers = {"RateLimit-Policy": self._policy, "RateLimit": left}
        if count > self._most:
            detail = f"Ask again in {reset_s} s, and less often."
            raise Problem(Kind.RATE_LIMITED, detail, headers | {"Retry-After": str(reset_s)})
        return headers

    def _count(self, who: str, now_s: float) -> int:
        with self._counting:
            if now_s >= self._ends_at_s:
                self._ends_at_s = now_s + self._length_s
                self.counts.clear()
            key = who if who in self.counts or len(self.counts) < MAX_KEYS else OTHERS
            count = self.counts[key] = self.counts.get(key, 0) + 1
            return count


def _site(text: str) -> str:
    address = parse_address(text)
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((address, SITE_BITS), strict=False))
    return str(address)
