"""The rules that sensors on other hosts take, as one document with a revision; made anew when the rules change."""

import hashlib
from dataclasses import dataclass
from enum import StrEnum

import msgspec

from api.context import ApiContext
from rules.sensor_status import SensorStatus
from rules.shared_policy import as_overlay

BEHIND_AFTER_NS = 60_000_000_000  # sensors ask every ten seconds


class RulesState(StrEnum):
    """Which rules a sensor uses: those it reads itself, the newest that it was handed, or older ones."""

    OWN = "own"
    CURRENT = "current"
    BEHIND = "behind"


@dataclass(frozen=True, slots=True)
class SharedRules:
    """What sensors are handed, since when. `revision` is SHA-256 of `body`, in hexadecimal."""

    body: bytes
    revision: str
    since_ns: int

    @property
    def etag(self) -> str:
        """Return the strong entity tag."""
        return f'"{self.revision}"'


class SensorRules:
    """Makes the document once for each policy; to ask again costs a comparison."""

    def __init__(self, context: ApiContext) -> None:
        self._context = context
        self._made_of: tuple[object, str] = (None, "")
        self._shared: SharedRules | None = None

    def current(self) -> SharedRules:
        """Return the document of the rules in force."""
        policy, update = self._context.ruleset().policy, self._context.catalogue_update()
        digest = hashlib.sha256(update.octets).hexdigest() if update else ""
        if self._shared is not None and self._made_of[0] is policy and self._made_of[1] == digest:
            return self._shared
        catalogue = {"version": self._context.catalogue_status().version, "update": digest or None}
        body = msgspec.json.encode({"policy": as_overlay(policy), "catalogue": catalogue})
        revision, since_ns = hashlib.sha256(body).hexdigest(), self._context.now_ns()
        if self._shared is None or self._shared.revision != revision:
            self._shared = SharedRules(body, revision, since_ns)
        self._made_of = policy, digest
        return self._shared

    def state_of(self, status: SensorStatus, now_ns: int) -> RulesState:
        """Return which rules a sensor uses; a change counts once it had a minute to be taken up."""
        shared = self.current()
        if not status.is_remote:
            return RulesState.OWN
        is_new = now_ns - shared.since_ns < BEHIND_AFTER_NS
        return RulesState.CURRENT if status.rules_revision == shared.revision or is_new else RulesState.BEHIND
