"""Names of findings for the block lists: somebody else's custom ingresses, which no catalogue lists."""

from collections.abc import Iterator, Sequence

from db.values import NameSighting
from rules.lists.building import FoundName
from rules.policy.profiles import FindingUse
from rules.values.observation import Evidence

BELIEVED_FOR_NS = 30 * 86_400 * 1_000_000_000
_CERTAIN = {
    Evidence.NS_DELEGATION: "its zone is delegated to the service",
    Evidence.DNS_CNAME: "it is an alias of the service's name",
}
_LIKELY = {Evidence.JA4: "agents of the service say hello to it"}


def found_names(sightings: Sequence[NameSighting], use: FindingUse) -> Iterator[FoundName]:
    """Yield the names that a profile takes, each good for 30 days after it was seen last.

    Without an analyst only what DNS itself says is believed, and only where the profile asks for that; with one also
    the hello of an agent to that very name. That a name shares an address with a service is never enough.
    """
    for row in sightings:
        believed = _CERTAIN | _LIKELY if row.is_acknowledged else _CERTAIN
        is_taken = row.is_acknowledged or use is FindingUse.CERTAIN
        why = next((reason for evidence, reason in believed.items() if evidence in row.evidence), "")
        if why and is_taken and use is not FindingUse.OFF:
            yield FoundName(row.name, row.service, why, row.last_seen_ns + BELIEVED_FOR_NS)
