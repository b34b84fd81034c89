"""What agents turn to when their names do not resolve: resolvers beside the network's own, files with addresses.

Many others use the same, so it is a reason beside the agent that was named, never a verdict of its own.
"""

from rules.catalogue.catalogue import Catalogue
from rules.catalogue.service import Service
from rules.classification.evidence import Finding, Sign
from rules.classification.naming import NAME_EVIDENCE
from rules.values.event import address_text
from rules.values.observation import Beside, BesideKind, Evidence, Observation
from rules.values.verdict import Reason


def find_fallback(observation: Observation, catalogue: Catalogue) -> Beside | None:
    """Return what `observation` is a fallback of, beside an agent of that service that the client was seen to use."""
    agents = {row.service for row in observation.beside if row.kind is BesideKind.AGENT}
    if not agents:
        return None
    five_tuple = observation.five_tuple
    said = [row.value for row in observation.indicators if row.evidence in NAME_EVIDENCE]
    for place in (*said, f"{address_text(five_tuple.dst)}:{five_tuple.dst_port}"):
        for service in catalogue.by_fallback.get(place, ()):
            if service.id in agents:
                return Beside(service.id, BesideKind.FALLBACK, place)
    return None


def fallback_findings(observation: Observation, service: Service) -> list[Finding]:
    """Return what the client of a flow to `service` turned to, as a reason."""
    places = [row.name for row in observation.beside if (row.service, row.kind) == (service.id, BesideKind.FALLBACK)]
    if not places:
        return []
    detail = f"the client turned to {places[0]}, as agents of {service.short_name} do when their names do not resolve"
    return [Finding(Sign.FALLBACK, Reason(Evidence.FALLBACK, places[0], detail))]
