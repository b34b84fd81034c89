"""Tokens in memory, checked without the database: a firewall whose credential is refused stops enforcing its list.

So the last tokens that were read stay good while the database is away, and nothing is refused before any were read.
A change is seen a second later at most.
"""

import hmac
import threading
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from api.access.addresses import Network, is_within, parse_address, parse_networks
from api.access.secrets import Presented, digest_of, new_secret
from api.times import NS_PER_S
from db.access.values import Token, TokenScope
from db.errors import DbError
from db.store import Store

REFRESH_NS = NS_PER_S
MAX_TOKENS = 10_000
LAST_USE_NS = 60 * NS_PER_S  # how exactly the time of last use is kept

log = structlog.get_logger("api")


@dataclass(frozen=True, slots=True)
class _Known:
    token: Token
    allowed: tuple[Network, ...]
    denied: tuple[Network, ...]

    @classmethod
    def of(cls, token: Token) -> "_Known":
        return cls(token, parse_networks(token.allowed), parse_networks(token.denied))

    def is_good(self, presented: Presented, address: str, now_ns: int) -> bool:
        """Tell whether a request is its holder's. The secret is compared first and in full, whatever else is wrong."""
        token = self.token
        is_newest = hmac.compare_digest(token.digest, presented.digest)
        is_previous = hmac.compare_digest(token.previous_digest or token.digest, presented.digest)
        is_over = token.expires_at_ns is not None and now_ns >= token.expires_at_ns
        is_from_there = self._takes(address)  # before it is known whether the secret is right: no shorter way for wrong
        return (is_newest or is_previous) and token.revoked_at_ns is None and not is_over and is_from_there

    def _takes(self, text: str) -> bool:
        address = parse_address(text)
        if address is None:
            return False
        return not is_within(address, self.denied) and (not self.allowed or is_within(address, self.allowed))


class Credentials:
    """The tokens that are known now. Bounded: `MAX_TOKENS` tokens and as many times of last use."""

    def __init__(self, store: Store, now_ns: Callable[[], int]) -> None:
        self._store = store
        self._now_ns = now_ns
        self._known: dict[str, _Known] = {}
        self._revision: int | None = None
        self._looked_at_ns: int | None = None
        self._looking = threading.Lock()
        self._used_ns: dict[str, int] = {}  # not written yet
        self._written_ns: dict[str, int] = {}
        secret = new_secret()
        self._nobody = _Known.of(
            Token(token_id="", name="", scopes=(), digest=digest_of(secret), created_at_ns=0, revoked_at_ns=0)
        )

    @property
    def is_ready(self) -> bool:
        """Tell whether a credential can be judged: with no tokens at all, the database may be a new one."""
        self._refresh()
        return bool(self._known)

    @property
    def is_current(self) -> bool:
        """Tell whether a credential can be judged now without the database."""
        return self._looked_at_ns is not None and abs(self._now_ns() - self._looked_at_ns) < REFRESH_NS

    def holder(self, presented: Presented | None, address: str) -> Token | None:
        """Return the token that `presented` proves from this address, None for any other, with the same work."""
        self._refresh()
        claimed = presented or Presented("", self._nobody.token.digest)
        known, now_ns = self._known.get(claimed.token_id, self._nobody), self._now_ns()
        if not known.is_good(claimed, address, now_ns):
            return None
        if abs(now_ns - self._written_ns.get(known.token.token_id, 0)) >= LAST_USE_NS:
            self._used_ns[known.token.token_id] = now_ns
        return known.token

    def flush(self) -> None:
        """Write the times of last use; while the database is away they wait."""
        used = self._used_ns.copy()
        if not used:
            return
        try:
            self._store.touch_tokens(used)
        except DbError as error:
            log.info("last_use_not_written", reason=str(error))
            return
        self._written_ns |= used
        for token_id in used:
            self._used_ns.pop(token_id, None)

    def _refresh(self) -> None:
        now_ns = self._now_ns()
        if self.is_current:
            return
        if not self._looking.acquire(blocking=self._looked_at_ns is None):
            return
        try:
            self._take_up()
        except DbError as error:
            log.warning("tokens_not_read", reason=str(error))
        finally:
            self._looked_at_ns = now_ns
            self._looking.release()

    def _take_up(self) -> None:
        revision = self._store.token_revision()
        if revision == self._revision:
            return
        tokens = self._store.tokens()
        if self._known and not tokens:
            log.warning("tokens_lost", advice="the database holds none any more; those known before stay good")
            return
        self._known = {token.token_id: _Known.of(token) for token in tokens}
        self._revision = revision


def may_read_feed(token: Token, list_name: str, profile: str | None) -> bool:
    """Tell whether a token opens this list in this profile."""
    is_bound_elsewhere = token.list_name not in (None, list_name) or token.profile not in (None, profile)
    is_for_feeds = not {TokenScope.FEEDS_READ, TokenScope.ADMIN}.isdisjoint(token.scopes)
    return is_for_feeds and not is_bound_elsewhere
