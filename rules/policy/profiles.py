"""Profiles: which services, roles and findings a list holds, so that firewalls may take different ones of each list.

`agents-only` and `strict` are there from the beginning; the policy file adds others as `[[profile]]`.
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

import msgspec

from rules.catalogue.catalogue import Network
from rules.catalogue.service import BLOCKED_BY_DEFAULT, Service, Trust
from rules.errors import InvalidName
from rules.values.verdict import Decision, Role

DEFAULT_PROFILE = "agents-only"
MAX_PROFILES = 16
MOST_SHRINK = 0.5  # more than this share of the entries gone at once is held
MOST_GROWTH = 2.0  # and more than this many times the entries new at once
_NAME = re.compile(r"[a-z][a-z0-9-]{0,31}")
_RANKS = (Trust.LOW, Trust.MEDIUM, Trust.HIGH)


def is_profile_name(text: str) -> bool:
    """Tell whether a profile can have this name."""
    return _NAME.fullmatch(text) is not None


class FindingUse(StrEnum):
    """Which names of findings are listed: none, those an analyst acknowledged, or also those that are certain."""

    OFF = "off"
    CONFIRMED = "confirmed"
    CERTAIN = "certain"


@dataclass(frozen=True, slots=True)
class Profile:
    """What the lists of a profile hold.

    Args:
        name: what it is asked for by.
        services: ids and categories; none of them means what the organisation decided to block.
        roles: whose names: agents', visitors', or auxiliary ones.
        minimum_confidence: of services that nobody decided about.
        findings: which names of findings are listed besides.
        networks: those behind its firewalls; an exception for all of them is heeded.
        max_entries: how many entries its readers take; a list with more is not published.
        max_shrink: which share of a list may go at once.
        max_growth: how many times a list may grow at once.
    """

    name: str
    services: frozenset[str] = frozenset()
    roles: frozenset[Role] = frozenset({Role.AGENT})
    minimum_confidence: Trust = Trust.MEDIUM
    findings: FindingUse = FindingUse.OFF
    networks: tuple[Network, ...] = ()
    max_entries: int | None = None
    max_shrink: float = MOST_SHRINK
    max_growth: float = MOST_GROWTH

    def takes(self, service: Service, by_id: Decision | None, by_category: Decision | None) -> bool:
        """Tell whether a service is listed, given what was decided about it and about its category.

        What a profile names goes before what was decided, but for `ignore`; a service's id goes before its category.
        """
        decided = by_id or by_category
        if decided is Decision.IGNORE:
            return False
        if service.id in self.services:
            return True
        if self.services:
            is_wanted = service.category in self.services and by_id is not Decision.MONITOR
            return is_wanted and (by_id is Decision.BLOCK or self._trusts(service))
        if decided is not None:
            return decided is Decision.BLOCK
        return service.category in BLOCKED_BY_DEFAULT and self._trusts(service)

    def _trusts(self, service: Service) -> bool:
        return _RANKS.index(service.confidence) >= _RANKS.index(self.minimum_confidence)


AGENTS_ONLY = Profile(DEFAULT_PROFILE)
STRICT = Profile(
    "strict",
    roles=frozenset({Role.AGENT, Role.VISITOR}),
    minimum_confidence=Trust.LOW,
    findings=FindingUse.CONFIRMED,
)
BUILT_IN = (AGENTS_ONLY, STRICT)


class ProfileTable(msgspec.Struct, forbid_unknown_fields=True):
    """A `[[profile]]` of the policy file."""

    name: str
    services: list[str] = []
    roles: tuple[Literal["agent", "visitor", "auxiliary"], ...] = ("agent",)
    minimum_confidence: Trust = Trust.MEDIUM
    findings: FindingUse = FindingUse.OFF
    networks: list[str] = []
    max_entries: int | None = None
    max_shrink: float = MOST_SHRINK
    max_growth: float = MOST_GROWTH

    def profile(self, services: frozenset[str], networks: tuple[Network, ...]) -> Profile:
        """Return the profile, given its services and networks as they were checked.

        Raises:
            InvalidName: the message says which key is wrong and what to do.
        """
        if not is_profile_name(self.name) or self.name in {profile.name for profile in BUILT_IN}:
            raise InvalidName(f"name: {self.name!r} is taken or no name: write small letters, digits and -, 32 at most")
        if not self.roles:
            raise InvalidName("roles: is empty: choose agent, visitor, auxiliary")
        if self.max_entries is not None and self.max_entries < 1:
            raise InvalidName("max_entries: is how many entries the firewalls take: give 1 or more, or leave it out")
        if not 0 < self.max_shrink <= 1 or not self.max_growth > 0:
            raise InvalidName("max_shrink: is a share above 0 and up to 1, max_growth a multiple above 0")
        return Profile(
            self.name,
            services=services,
            roles=frozenset(map(Role, self.roles)),
            minimum_confidence=self.minimum_confidence,
            findings=self.findings,
            networks=networks,
            max_entries=self.max_entries,
            max_shrink=self.max_shrink,
            max_growth=self.max_growth,
        )
