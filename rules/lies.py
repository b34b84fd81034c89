"""Verdicts on flows that say they go to a sanctioned ingress and do something else."""

import msgspec

from rules.evidence import Finding, Sign, concluded, confidence
from rules.naming import HELLO_EVIDENCE, PROXY_EVIDENCE, WHERE_IT_WAS_SEEN
from rules.observation import Evidence, Indicator
from rules.policy import Sanction
from rules.verdict import UNKNOWN, Outcome, Reason, Rule, Severity, Verdict


def inner_lie(sanctioned: list[tuple[Indicator, Sanction]], names: list[Indicator]) -> Verdict | None:
    """Return the verdict on a sanctioned name inside a tunnel that a proxy opened to another one."""
    asked = [row for row in names if row.evidence in PROXY_EVIDENCE and not _is_address(row.value)]
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


def _is_address(name: str) -> bool:
    return ":" in name or name[-1:].isdigit()


def outside_the_pin(row: Indicator, sanction: Sanction, address: str) -> Verdict:
    """Return the verdict on a sanctioned name that goes to an address which the policy does not pin it to."""
    pins = ", ".join(map(str, sanction.addresses))
    detail = (
        f"the hello names the sanctioned ingress {sanction.domain}, pinned to {pins}, but the flow goes to {address}"
    )
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
