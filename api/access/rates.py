"""How often somebody may ask: those we know by who they are, those we do not by their address (library `limits`).

A good credential is never refused for what others did from its address: a firewall that is refused may stop enforcing.
"""

import ipaddress
import math
import time

from limits import RateLimitItem, parse
from limits.storage import MemoryStorage
from limits.strategies import FixedWindowRateLimiter

from api.access.addresses import parse_address
from api.access.principal import Principal
from api.problems import Kind, Problem
from db.access_values import ActorKind

MAX_KEYS = 4096  # the library looks at all of them when it forgets
OTHERS = "others"
SITE_BITS = 64  # an IPv6 host has so many addresses that its network counts


class Rates:
    """Counts requests in memory. Of more than `MAX_KEYS` callers the rest share one count."""

    def __init__(self, known: str, unknown: str) -> None:
        """Take two limits such as `600/minute`.

        Raises:
            ValueError: one is no limit.
        """
        self._known, self._unknown = parse(known), parse(unknown)
        self._storage = {kind: MemoryStorage() for kind in ("known", "unknown")}
        self._limiter = {kind: FixedWindowRateLimiter(storage) for kind, storage in self._storage.items()}

    def count(self, principal: Principal) -> dict[str, str]:
        """Count a request of somebody we know and return the headers that say how many are left.

        Raises:
            Problem: there were too many; nobody on trusted loopback is limited.
        """
        if principal.kind is ActorKind.LOCAL:
            return {}
        return self._hit("known", self._known, f"{principal.kind}:{principal.id}")

    def count_unknown(self, address: str) -> None:
        """Count a request that was refused.

        Raises:
            Problem: there were too many.
        """
        self._hit("unknown", self._unknown, _site(address))

    def _hit(self, kind: str, limit: RateLimitItem, who: str) -> dict[str, str]:
        storage, limiter = self._storage[kind], self._limiter[kind]
        is_new = limit.key_for(who) not in storage.storage
        key = OTHERS if is_new and len(storage.storage) >= MAX_KEYS else who
        is_allowed = limiter.hit(limit, key)
        reset_at_s, remaining = limiter.get_window_stats(limit, key)
        reset_s = max(1, math.ceil(reset_at_s - time.time()))
        headers = {
            "RateLimit-Policy": f'"{kind}";q={limit.amount};w={limit.get_expiry()}',
            "RateLimit": f'"{kind}";r={remaining};t={reset_s}',
        }
        if not is_allowed:
            detail = f"Ask again in {reset_s} s, and less often."
            raise Problem(Kind.RATE_LIMITED, detail, headers | {"Retry-After": str(reset_s)})
        return headers


def _site(text: str) -> str:
    address = parse_address(text)
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((address, SITE_BITS), strict=False))
    return str(address)
