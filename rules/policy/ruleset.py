"""The rules in force: one immutable pair that a reload replaces as a whole."""

import hashlib
import ipaddress
from dataclasses import dataclass
from functools import cached_property

import msgspec

from rules.catalogue.catalogue import Catalogue
from rules.catalogue.service import unnamed_service
from rules.policy.policy import Policy
from rules.policy.shared import as_overlay
from rules.values.event import Basis, Event
from rules.values.source import Source
from rules.values.verdict import Outcome

DIGEST_DIGITS = 16


@dataclass(frozen=True)
class Ruleset:
    """A catalogue and a policy that was checked against it."""

    catalogue: Catalogue
    policy: Policy

    @cached_property
    def basis(self) -> Basis:
        """What events say of the rules that they rest on; costs a walk over the policy, once."""
        return Basis(rule_version=self.catalogue.version, policy_digest=digest_of(self.policy))

    def exception_for(self, event: Event, who: Source) -> str | None:
        """Return the id of the exception that lets the source of `event`, which is `who`, do what it does."""
        named = self.catalogue.services.get(event.service) if event.service else None
        service = named or unnamed_service(event.service_category or "")
        if event.verdict is Outcome.SANCTIONED or not self.policy.exceptions:
            return None
        source = ipaddress.ip_address(event.src_ip).packed
        found = self.policy.exception_for(source, service, event.observed_at_ns, who)
        return found.id if found else None


def digest_of(policy: Policy) -> str:
    """Return 16 hexadecimal digits (of SHA-256): the same for policies that say the same of verdicts and lists.

    So they are the same on a sensor that has its policy from an API, however file and database share it there.
    """
    return hashlib.sha256(msgspec.json.encode(as_overlay(policy))).hexdigest()[:DIGEST_DIGITS]
