"""The rules in force: one immutable pair that a reload replaces as a whole."""

import ipaddress
from dataclasses import dataclass

from rules.catalogue import Catalogue
from rules.event import Event
from rules.policy import Policy
from rules.source import Source
from rules.verdict import Outcome


@dataclass(frozen=True, slots=True)
class Ruleset:
    """A catalogue and a policy that was checked against it."""

    catalogue: Catalogue
    policy: Policy

    def exception_for(self, event: Event, who: Source) -> str | None:
        """Return the id of the exception that lets the source of `event`, which is `who`, do what it does."""
        service = self.catalogue.services.get(event.service or "")
        if service is None or event.verdict is Outcome.SANCTIONED or not self.policy.exceptions:
            return None
        source = ipaddress.ip_address(event.src_ip).packed
        found = self.policy.exception_for(source, service, event.observed_at_ns, who)
        return found.id if found else None
