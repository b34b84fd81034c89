"""Which profiles are in use: only those are built."""

from collections.abc import Callable

from db.errors import DbError
from db.store import Store
from rules.policy.profiles import DEFAULT_PROFILE

UNASKED_NS = 7 * 86_400 * 1_000_000_000  # a profile that nobody asked for so long is not in use any more


class ProfileUse:
    """The default profile, those that a token is bound to, and those that were asked for lately.

    Bounded by the profiles that there are (`defined`): others are not noted.
    """

    def __init__(self, store: Store, defined: Callable[[], frozenset[str]], now_ns: Callable[[], int]) -> None:
        self._store = store
        self._defined = defined
        self._now_ns = now_ns
        self._bound: frozenset[str] = frozenset()
        self._asked_ns: dict[str, int] = {}

    def ask(self, profile: str) -> bool:
        """Note that a profile is asked for; tell whether it is one that was not in use."""
        if profile == DEFAULT_PROFILE or profile not in self._defined():
            return False
        was_in_use = profile in self.names()
        self._asked_ns[profile] = self._now_ns()
        return not was_in_use

    def look(self) -> None:
        """Take up which profiles there are now, and which of them tokens are bound to."""
        defined = self._defined()
        self._asked_ns = {name: at_ns for name, at_ns in self._asked_ns.copy().items() if name in defined}
        try:
            tokens = self._store.tokens()
        except DbError:
            return  # those that were bound stay so
        self._bound = frozenset(token.profile for token in tokens if token.profile and token.revoked_at_ns is None)

    def names(self) -> frozenset[str]:
        """Return the profiles that are in use."""
        since_ns = self._now_ns() - UNASKED_NS
        asked = {name for name, at_ns in self._asked_ns.copy().items() if at_ns >= since_ns}
        return (self._bound | asked) & self._defined() | {DEFAULT_PROFILE}
