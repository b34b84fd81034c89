"""What a pinned address says of a flow that names nobody: SSH, WireGuard and their like carry no server name."""

import msgspec

from rules.catalogue.catalogue import Catalogue
from rules.catalogue.service import Service
from rules.classification.evidence import Finding, Sign, concluded
from rules.classification.tells import ssh_banner
from rules.policy.policy import Policy
from rules.values.event import address_text
from rules.values.observation import Evidence, Observation
from rules.values.verdict import Outcome, Reason, Rule, Verdict


def spare_pinned(verdict: Verdict, observation: Observation, policy: Policy, catalogue: Catalogue) -> Verdict:
    """Return `verdict`, or that the flow is sanctioned: only its protocol told, and a pin expects that one there.

    A flow whose client was led to the address by another name keeps its verdict, which then has a name.
    """
    if verdict.outcome is not Outcome.SUSPICIOUS or verdict.dst_name is not None:
        return verdict
    for sanction in policy.pinned_to(observation.five_tuple.dst, observation.observed_at_ns):
        service = catalogue.services[sanction.service]
        if _expects(service, verdict, observation):
            address = address_text(observation.five_tuple.dst)
            detail = f"the policy pins {sanction.domain} to this address, and the protocol is {service.short_name}'s"
            found = [Finding(Sign.PINNED_ADDRESS, Reason(Evidence.ADDRESS, address, detail))]
            pinned = concluded(Outcome.SANCTIONED, Rule.PINNED_ADDRESS, found, service=service.id, name=sanction.domain)
            return msgspec.structs.replace(pinned, reasons=(*pinned.reasons, *verdict.reasons))
    return verdict


def _expects(service: Service, verdict: Verdict, observation: Observation) -> bool:
    is_its_own = service.id == verdict.service or service.category == verdict.category
    return is_its_own or (service.ssh and ssh_banner(observation) is not None)
