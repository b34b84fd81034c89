"""The rules that sensors on other hosts take, as one document with a revision; made anew when the rules change."""

import hashlib
from dataclasses import dataclass
from enum import StrEnum

import msgspec

from api.context import ApiContext
from rules.policy.shared import as_overlay
from rules.values.sensor_status import SensorStatus

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
        self._made: tuple[object, str, SharedRules] | None = None  # of which policy and update; swapped as one

    def current(self) -> SharedRules:
        """Return the document of the rules in force."""
        policy, update = self._context.ruleset().policy, self._context.catalogue_update()
        digest = hashlib.sha256(update.octets).hexdigest() if update else ""
        made = self._made
        if made is not None and made[0] is policy and made[1] == digest:
            return made[2]
        catalogue = {"version": self._context.catalogue_status().version, "update": digest or None}
        body = msgspec.json.encode({"policy": as_overlay(policy), "catalogue": catalogue})
        revision, since_ns = hashlib.sha256(body).hexdigest(), self._context.now_ns()
        if made is not None and made[2].revision == revision:
            since_ns = made[2].since_ns
        shared = SharedRules(body, revision, since_ns)
        self._made = policy, digest, shared
        return shared

    def state_of(self, status: SensorStatus, now_ns: int) -> RulesState:
        """Return which rules a sensor uses; a change counts once it had a minute to be taken up."""
        shared = self.current()
        if not status.is_remote:
            return RulesState.OWN
        is_new = now_ns - shared.since_ns < BEHIND_AFTER_NS
        return RulesState.CURRENT if status.rules_revision == shared.revision or is_new else RulesState.BEHIND
