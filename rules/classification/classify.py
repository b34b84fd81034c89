"""The verdict on an observation (DESIGN.md section 3): pure, no clock, no I/O.

The order is the rule: a sanctioned name first, then listed names, then aliases of listed names, then addresses that the
client was told, then protocol tells. Costs O(labels) for each name of the observation.
"""

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from rules.catalogue.catalogue import Catalogue, Match
from rules.catalogue.service import ListKind, Service, unnamed_service
from rules.classification.evidence import LISTED, WEIGHTS, Finding, Sign, alias_sign, concluded
from rules.classification.fallbacks import fallback_findings
from rules.classification.ingress import find_ingress, is_candidate
from rules.classification.lies import contradiction, dialled_address, inner_lie, outside_the_pin
from rules.classification.naming import NAME_EVIDENCE, WHAT_A_ROLE_DOES, WHERE_IT_WAS_SEEN
from rules.classification.pins import spare_pinned
from rules.classification.tells import Tell, find_tell, ssh_banner
from rules.policy.policy import Policy, Sanction
from rules.values.event import address_text
from rules.values.observation import Evidence, Indicator, NameSource, Observation
from rules.values.value import Value
from rules.values.verdict import UNKNOWN, Decision, Outcome, Reason, Role, Rule, Severity, Verdict

SEVERITY: Final = {
    Role.AGENT: Severity.HIGH,
    Role.UNCLEAR: Severity.MEDIUM,
    Role.VISITOR: Severity.LOW,
    Role.AUXILIARY: Severity.INFORMATIONAL,
}
ROLE_STRENGTH: Final = {Role.AUXILIARY: 0, Role.VISITOR: 1, Role.UNCLEAR: 2, Role.AGENT: 3}


class _Listed(Value, frozen=True):
    """A name of the observation that the catalogue lists."""

    indicator: Indicator
    match: Match
    role: Role


def classify(observation: Observation, policy: Policy, catalogue: Catalogue) -> Verdict:
    """Return the verdict on `observation` under `policy`."""
    names = [row for row in observation.indicators if row.evidence in NAME_EVIDENCE]
    now_ns = observation.observed_at_ns
    found = [(row, policy.sanction_for(row.value, now_ns)) for row in names] if policy.sanctions else []
    sanctioned = [(row, sanction) for row, sanction in found if sanction is not None]
    spared = {row.value for row, _ in sanctioned}
    named = _listed([row for row in names if row.value not in spared] if spared else names, catalogue)
    listed = [row for row in named if not _is_passed_over(row.match.service, row.role, policy, observation)]
    if sanctioned and not listed:
        verdict: Verdict | None = inner_lie(sanctioned, names) or _sanctioned(*sanctioned[-1], observation)
    elif sanctioned:
        verdict = contradiction(sanctioned[0][0], _by_name(listed, observation, catalogue))
    elif named and not listed:
        return Verdict(
            Outcome.UNKNOWN, service=named[0].match.service.id, role=named[0].role, dst_name=named[0].indicator.value
        )
    elif named:
        verdict = _by_name(listed, observation, catalogue)
    else:
        verdict = (
            _by_alias(observation, policy, catalogue)
            or _by_told_address(observation, policy, catalogue)
            or _by_what_it_looks_like(observation, policy, catalogue)
        )
    return _finish(verdict, observation, policy, catalogue) if verdict else UNKNOWN


def _listed(names: list[Indicator], catalogue: Catalogue) -> list[_Listed]:
    listed = []
    for row in names:
        match = catalogue.match(row.value)
        if match is not None:
            listed.append(_Listed(row, match, _role(match)))
    return listed


def _role(match: Match) -> Role:
    if ListKind.AGENT in match.kinds:
        return Role.UNCLEAR if ListKind.ENDPOINT in match.kinds else Role.AGENT
    return Role.VISITOR if ListKind.ENDPOINT in match.kinds else Role.AUXILIARY


def _sanctioned(row: Indicator, sanction: Sanction, observation: Observation) -> Verdict:
    seen = WHERE_IT_WAS_SEEN[row.evidence]
    said = Reason(row.evidence, row.value, f"{seen} a name of the sanctioned ingress {sanction.domain}")
    found = [Finding(Sign.SANCTIONED_NAME, said)]
    address = dialled_address(observation)
    if address is not None and not sanction.covers_address(address):
        return outside_the_pin(row, sanction, address_text(address))
    if address == observation.five_tuple.dst and observation.told_names and row.value not in observation.told_names:
        detail = "no answer that this client got for the name had this address"
        reason = Reason(Evidence.ADDRESS, address_text(address), detail)
        found.append(Finding(Sign.UNEXPECTED_ADDRESS, reason))
    return concluded(Outcome.SANCTIONED, Rule.SANCTIONED_NAME, found, service=sanction.service, name=row.value)


def _by_name(listed: list[_Listed], observation: Observation, catalogue: Catalogue) -> Verdict | None:
    if not listed:
        return None
    strongest = max(listed, key=lambda row: ROLE_STRENGTH[row.role])
    service = strongest.match.service
    role = strongest.role
    sign = LISTED[service.confidence]
    found = [Finding(sign, _name_reason(row)) for row in listed if row.match.service.id == service.id]
    found += _agreeing(observation, strongest.indicator.value) + fallback_findings(observation, service)
    tell = _agreeing_tell(observation, service, catalogue)
    if tell is not None:
        is_proof = tell.role is Role.AGENT and tell.reason.evidence is Evidence.PROTOCOL
        role = tell.role if role is Role.UNCLEAR or is_proof else role
        found.append(Finding(Sign.PROTOCOL_AGREES, tell.reason))
    name = strongest.indicator.value
    return concluded(Outcome.UNSANCTIONED, Rule.LISTED_NAME, found, service=service.id, name=name, role=role)


def _agreeing(observation: Observation, name: str) -> list[Finding]:
    """Return what the look-ups of its client say of a flow to `name`; nothing of it decides alone."""
    if observation.dns is not None:
        return []
    if name in observation.told_names:
        address = address_text(observation.five_tuple.dst)
        reason = Reason(Evidence.DNS_ANSWER, address, f"the client had asked for {name} and was told this address")
        return [Finding(Sign.ANSWER_AGREES, reason)]
    if observation.name_source is NameSource.NOT_ASKED:
        detail = f"the client asks resolvers seen here, yet never asked them for {name}"
        return [Finding(Sign.NOT_ASKED, Reason(Evidence.DNS_QUERY, name, detail))]
    return []


def _agreeing_tell(observation: Observation, service: Service, catalogue: Catalogue) -> Tell | None:
    """Return what the protocol says beside a name of `service`, if it speaks for the same service."""
    banner = ssh_banner(observation)
    if banner is not None and service.ssh:
        reason = Reason(Evidence.SSH_BANNER, banner, f"agents of {service.short_name} speak SSH")
        return Tell(service.id, role=Role.AGENT, confidence=WEIGHTS[Sign.PROTOCOL_AGREES].weight, reason=reason)
    tell = find_tell(observation, catalogue)
    if tell is None or (tell.service != service.id and tell.carries != service.category):
        return None
    return msgspec.structs.replace(tell, role=Role.AGENT) if tell.role is Role.UNCLEAR else tell


def _name_reason(row: _Listed) -> Reason:
    seen, does = WHERE_IT_WAS_SEEN[row.indicator.evidence], WHAT_A_ROLE_DOES[row.role]
    detail = (
        f"{seen} {row.indicator.value}, which {does} {row.match.service.short_name} (catalogue entry {row.match.entry})"
    )
    return Reason(row.indicator.evidence, row.indicator.value, detail)


def _by_alias(observation: Observation, policy: Policy, catalogue: Catalogue) -> Verdict | None:
    """Return the verdict on an unlisted name whose CNAME chain reaches a listed one before a sanctioned one.

    Of a flow it is the chain that led this client from the flow's name to its responder's address.
    """
    for name, aliases in _chains(observation):
        found = _first_listed(aliases, observation, policy, catalogue)
        if found is not None:
            return _alias_verdict(name, *found, observation)
    return None


def _alias_verdict(name: str, alias: str, match: Match, observation: Observation) -> Verdict:
    service, role = match.service, _role(match)
    what = f"{WHAT_A_ROLE_DOES[role]} {service.short_name} (catalogue entry {match.entry})"
    reason = Reason(Evidence.DNS_CNAME, alias, f"{name} is an alias of {alias}, which {what}")
    found = [Finding(alias_sign(service.confidence), reason), *_agreeing(observation, name)]
    return concluded(Outcome.UNSANCTIONED, Rule.ALIAS, found, service=service.id, name=name, role=role)


def _chains(observation: Observation) -> list[tuple[str, Sequence[str]]]:
    """Return each name of the observation that has aliases, with those that follow it in its chain."""
    dns = observation.dns
    if dns is not None:
        return [(dns.qname, dns.cnames)] if dns.cnames else []
    chains = [chain for chain in observation.told if len(chain) > 1]
    if not chains:
        return []
    names = {row.value for row in observation.indicators if row.evidence in NAME_EVIDENCE}
    return [(name, chain[at + 1 :]) for chain in chains for at, name in enumerate(chain) if name in names]


def _first_listed(
    chain: Iterable[str], observation: Observation, policy: Policy, catalogue: Catalogue
) -> tuple[str, Match] | None:
    """Return the first name of `chain` that is listed and not ignored, unless a sanctioned one stands before it."""
    now_ns = observation.observed_at_ns
    for name in chain:
        if policy.sanction_for(name, now_ns) is not None:
            return None
        match = catalogue.match(name)
        if match is not None and not _is_passed_over(match.service, _role(match), policy, observation):
            return name, match
    return None


def _by_told_address(observation: Observation, policy: Policy, catalogue: Catalogue) -> Verdict | None:
    """Return the verdict on a flow without a listed name to an address that this client was told for one."""
    if observation.dns is not None or not observation.told:
        return None
    names = {row.value for row in observation.indicators if row.evidence in NAME_EVIDENCE}
    if names and not names.isdisjoint(observation.told_names):
        return None
    if names and catalogue.is_shared_address(observation.five_tuple.dst):
        return None  # everybody's sites are there
    if not names and (verdict := _sanctioned_address(observation, policy)) is not None:
        return verdict
    for chain in observation.told:
        found = _first_listed(chain, observation, policy, catalogue)
        if found is not None and ListKind.AGENT in found[1].kinds:
            return _told_agent(*found, observation, catalogue)
    return None


def _sanctioned_address(observation: Observation, policy: Policy) -> Verdict | None:
    address = address_text(observation.five_tuple.dst)
    for told in observation.told_names:
        sanction = policy.sanction_for(told, observation.observed_at_ns)
        if sanction is not None and sanction.covers_address(observation.five_tuple.dst):
            detail = f"the client was told this address for {told}, which is sanctioned"
            found = [Finding(Sign.SANCTIONED_ADDRESS, Reason(Evidence.ADDRESS, address, detail))]
            return concluded(Outcome.SANCTIONED, Rule.SANCTIONED_ADDRESS, found, service=sanction.service, name=told)
    return None


def _told_agent(told: str, match: Match, observation: Observation, catalogue: Catalogue) -> Verdict:
    address, service = address_text(observation.five_tuple.dst), match.service
    what = f"an agent name of {service.short_name}, and named no listed host"
    detail = f"the client was told this address for {told}, {what}"
    found = [Finding(Sign.TOLD_ADDRESS, Reason(Evidence.ADDRESS, address, detail))]
    role = _role(match)
    tell = _agreeing_tell(observation, service, catalogue)
    if tell is not None:
        role = tell.role
        found.append(Finding(Sign.PROTOCOL_AGREES, tell.reason))
    return concluded(Outcome.SUSPICIOUS, Rule.TOLD_ADDRESS, found, service=service.id, name=told, role=role)


def _by_what_it_looks_like(observation: Observation, policy: Policy, catalogue: Catalogue) -> Verdict | None:
    """Return the surer of what the protocol tells and what adds up to an agent at somebody's own ingress."""
    tell = _by_tell(observation, catalogue)
    if not is_candidate(observation) and observation.delegation is None:
        return tell
    unpinned = policy.unpinned_services(observation.observed_at_ns)
    ingress = find_ingress(observation, catalogue, is_shared=unpinned)
    return tell if ingress is None or (tell is not None and tell.confidence > ingress.confidence) else ingress


def _by_tell(observation: Observation, catalogue: Catalogue) -> Verdict | None:
    tell = find_tell(observation, catalogue)
    if tell is None or (tell.service is not None and tell.service not in catalogue.services):
        return None
    names = [row.value for row in observation.indicators if row.evidence in NAME_EVIDENCE]
    return Verdict(
        Outcome.SUSPICIOUS,
        Rule.PROTOCOL,
        service=tell.service,
        category=tell.carries or None,
        role=tell.role,
        severity=tell.severity,
        confidence=tell.confidence,
        reasons=(tell.reason,),
        dst_name=tell.name or (names[-1] if names else None),
    )


def _finish(verdict: Verdict, observation: Observation, policy: Policy, catalogue: Catalogue) -> Verdict:
    """Return the verdict with what the policy decided: ignored services vanish, exceptions are noted."""
    verdict = spare_pinned(verdict, observation, policy, catalogue)
    service = catalogue.services[verdict.service] if verdict.service else unnamed_service(verdict.category or "")
    if verdict.outcome is Outcome.SANCTIONED:
        return msgspec.structs.replace(verdict, category=service.category)
    now_ns = observation.observed_at_ns
    if _is_passed_over(service, verdict.role, policy, observation):
        return UNKNOWN
    exception = policy.exception_for(observation.five_tuple.src, service, now_ns)
    return msgspec.structs.replace(
        verdict,
        category=service.category,
        severity=_severity(verdict, policy.decide(service)),
        exception_id=exception.id if exception else None,
    )


def _is_passed_over(service: Service, role: Role, policy: Policy, observation: Observation) -> bool:
    """Tell whether the policy has nothing stored: the service is ignored, or a sanctioned agent may need the name."""
    is_needed = role is Role.AUXILIARY and not observation.is_alone
    if is_needed and policy.has_sanctioned(service.id, observation.observed_at_ns):
        return True
    return policy.decide(service) is Decision.IGNORE


def _severity(verdict: Verdict, decision: Decision) -> Severity:
    by_role = SEVERITY[verdict.role] if verdict.outcome is Outcome.UNSANCTIONED else Severity.MEDIUM
    severity = by_role if verdict.severity is Severity.INFORMATIONAL else verdict.severity
    return Severity.MEDIUM if decision is Decision.MONITOR and severity is Severity.HIGH else severity
