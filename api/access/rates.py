"""How often somebody may ask: those we know by who they are, those we do not by their address.

A good credential is never refused for what others did from its address: a firewall that is refused may stop enforcing.
"""

import ipaddress
import math
import threading
import time
from collections.abc import Callable

from limits import RateLimitItem, parse

from api.access.addresses import parse_address
from api.access.principal import Principal
from api.problems import Kind, Problem
from db.access.values import ActorKind

MAX_KEYS = 4096
OTHERS = "others"
HERE = "loopback"  # never shares a count: nobody elsewhere locks out whoever is at this host
SITE_BITS = 64  # an IPv6 host has so many addresses that its network counts


class Rates:
    """Counts requests in memory. Of more than `MAX_KEYS` callers the rest share one count."""

    def __init__(self, known: str, unknown: str, clock: Callable[[], float] = time.monotonic) -> None:
        """Take two limits such as `600/minute`, as the library `limits` reads them; `clock` gives seconds.

        Raises:
            ValueError: one is no limit.
        """
        self._known = _Window("known", parse(known), clock)
        self._unknown = _Window("unknown", parse(unknown), clock)

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
    """Everybody's requests since a window began, and a share of those in the window before: as if they came evenly.

    So nobody asks twice as often around an edge. What is refused does not count: whoever asks too often is answered as
    often as the limit says. A window ends as a whole, so no request pays for it. The storage that the library keeps in
    memory starts a thread for most requests, which costs more than an answer.
    """

    def __init__(self, kind: str, limit: RateLimitItem, clock: Callable[[], float]) -> None:
        self.counts: dict[str, int] = {}
        self._before: dict[str, int] = {}
        self._clock = clock
        self._kind = kind
        self._most, self._length_s = limit.amount, limit.get_expiry()
        self._policy = f'"{kind}";q={self._most};w={self._length_s}'
        self._began_at_s = -math.inf
        self._counting = threading.Lock()  # two listeners have a thread each

    def hit(self, who: str) -> dict[str, str]:
        """Count a request and return the headers that say how many are left.

        Raises:
            Problem: there are none left.
        """
        with self._counting:
            passed_s = self._passed_s()
            key = who if who in self.counts or len(self.counts) < MAX_KEYS or who == HERE else OTHERS
            count, before = self.counts.get(key, 0), self._before.get(key, 0)
            left = self._most - count - math.floor(before * (1 - passed_s / self._length_s))
            if left > 0:
                self.counts[key] = count + 1
        reset_s = math.ceil(self._length_s - passed_s)
        said = f'"{self._kind}";r={max(0, left - 1)};t={reset_s}'
        headers = {"RateLimit-Policy": self._policy, "RateLimit": said}
        if left <= 0:
            again_s = math.floor(self._free_after_s(count, before) - passed_s) + 1
            detail = f"Ask again in {again_s} s, and less often."
            raise Problem(Kind.RATE_LIMITED, detail, headers | {"Retry-After": str(again_s)})
        return headers

    def _passed_s(self) -> float:
        """Return how long ago the window began, a new one where the one before is over."""
        now_s = self._clock()
        passed_s = now_s - self._began_at_s
        if passed_s < self._length_s:
            return passed_s
        is_next = passed_s < 2 * self._length_s
        self._before, self.counts = self.counts if is_next else {}, {}
        self._began_at_s = self._began_at_s + self._length_s if is_next else now_s
        return now_s - self._began_at_s

    def _free_after_s(self, count: int, before: int) -> float:
        """Return after which time, from the begin of the window, one more request will be answered."""
        return self._length_s * (1 - (self._most - count) / before) if count < self._most else self._length_s


def _site(text: str) -> str:
    address = parse_address(text)
    if address is not None and address.is_loopback:
        return HERE
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((address, SITE_BITS), strict=False))
    return str(address)
