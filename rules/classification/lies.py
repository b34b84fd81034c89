"""Verdicts on flows that say they go to a sanctioned ingress and do something else."""

import ipaddress

import msgspec

from rules.classification.evidence import Finding, Sign, concluded, confidence
from rules.classification.naming import HELLO_EVIDENCE, PROXY_EVIDENCE, WHERE_IT_WAS_SEEN
from rules.matching.names import is_address
from rules.policy.policy import Sanction
from rules.values.observation import Evidence, Indicator, Observation
from rules.values.verdict import UNKNOWN, Outcome, Reason, Rule, Severity, Verdict


def inner_lie(sanctioned: list[tuple[Indicator, Sanction]], names: list[Indicator]) -> Verdict | None:
    """Return the verdict on a sanctioned name inside a tunnel that a proxy opened to another one."""
    asked = [row for row in names if row.evidence in PROXY_EVIDENCE and not is_address(row.value)]
    spared = {row.value for row, _ in sanctioned}
    inner = [row for row in sanctioned if row[0].evidence in HELLO_EVIDENCE]
    if not asked or not inner or spared & {row.value for row in asked}:
        return None
    row, sanction = inner[-1]
    other = asked[-1]
    detail = f"{WHERE_IT_WAS_SEEN[row.evidence]} a name of the sanctioned ingress {sanction.domain}"
    proxied = f"{WHERE_IT_WAS_SEEN[other.evidence]} {other.value}, which is not sanctioned"
    found = [
        Finding(Sign.LIE, Reason(row.evidence, row.value, detail)),
        Finding(Sign.LIE, Reason(other.evidence, other.value, proxied)),
    ]
    return _lie(found, sanction, other.value)


def _lie(found: list[Finding], sanction: Sanction, name: str) -> Verdict:
    return concluded(
        Outcome.SUSPICIOUS,
        Rule.SANCTIONED_NAME_ELSEWHERE,
        found,
        service=sanction.service,
        name=name,
        severity=Severity.HIGH,
    )


def dialled_address(observation: Observation) -> bytes | None:
    """Return the packed address that the flow goes to, or that a proxy is asked to dial; None where that is a name."""
    if observation.dns is not None:
        return None
    asked = [row.value for row in observation.indicators if row.evidence in PROXY_EVIDENCE]
    if asked:
        return _packed(asked[-1])
    return None if observation.via_proxy else observation.five_tuple.dst


def _packed(host: str) -> bytes | None:
    """Return an address as it would stand in a packet, None of a name."""
    if not is_address(host):
        return None
    address = ipaddress.ip_address(host.strip("[]"))
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).packed


def outside_the_pin(row: Indicator, sanction: Sanction, address: str) -> Verdict:
    """Return the verdict on a sanctioned name that goes to an address which the policy does not pin it to."""
    pins = ", ".join(map(str, sanction.addresses))
    seen = WHERE_IT_WAS_SEEN[row.evidence]
    detail = f"{seen} the sanctioned ingress {sanction.domain}, pinned to {pins}, but the flow goes to {address}"
    found = [
        Finding(Sign.LIE, Reason(row.evidence, row.value, detail)),
        Finding(Sign.LIE, Reason(Evidence.ADDRESS, address, f"outside the pin {pins}")),
    ]
    return _lie(found, sanction, row.value)


def contradiction(sanctioned: Indicator, by_name: Verdict | None) -> Verdict:
    """Return the verdict on a flow that names both a sanctioned and a listed host, such as a lying SNI in a CONNECT."""
    by_name = by_name or UNKNOWN
    detail = f"{WHERE_IT_WAS_SEEN[sanctioned.evidence]} a sanctioned ingress, yet the same flow names a listed host"
    lie = Finding(Sign.LIE, Reason(sanctioned.evidence, sanctioned.value, detail))
    return msgspec.structs.replace(
        by_name,
        outcome=Outcome.SUSPICIOUS,
        rule=Rule.SANCTIONED_NAME_ELSEWHERE,
        severity=Severity.HIGH,
        confidence=confidence([lie], Outcome.SUSPICIOUS),
        reasons=(*by_name.reasons, lie.reason),
    )
