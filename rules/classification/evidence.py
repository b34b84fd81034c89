"""What each kind of evidence weighs and how evidence adds up: the one table of confidence.

A weight is how sure one kind of evidence makes us, 0 to 100, seen alone. Kinds that agree add up as independent
witnesses do (noisy-or: doubt is multiplied); the same kind seen twice counts once. What a verdict may reach is capped
by its outcome: what is only suspected is never as sure as a name that was read. How sure a protocol makes us alone
stands with each protocol in `rules/classification/tells.py`.
"""

from collections.abc import Iterable, Sequence
from enum import StrEnum

from rules.catalogue.service import Trust
from rules.values.value import Value
from rules.values.verdict import Outcome, Reason, Role, Rule, Severity, Verdict


class Sign(StrEnum):
    """The kinds of evidence."""

    SANCTIONED_NAME = "sanctioned_name"
    LISTED_HIGH = "listed_high"
    LISTED_MEDIUM = "listed_medium"
    LISTED_LOW = "listed_low"
    ALIAS = "alias"
    NS_DELEGATION = "ns_delegation"
    LIE = "lie"
    TOLD_ADDRESS = "told_address"
    SANCTIONED_ADDRESS = "sanctioned_address"
    PINNED_ADDRESS = "pinned_address"
    PROTOCOL_AGREES = "protocol_agrees"
    AUXILIARY_BESIDE = "auxiliary_beside"
    PROVIDER_ADDRESS = "provider_address"
    HEARTBEAT = "heartbeat"
    ANSWER_AGREES = "answer_agrees"
    AGENT_HELLO = "agent_hello"
    NOT_ASKED = "not_asked"
    FALLBACK = "fallback"
    UNEXPECTED_ADDRESS = "unexpected_address"


class Weight(Value, frozen=True):
    """How much one kind of evidence weighs, and why."""

    weight: int
    why: str


WEIGHTS = {
    Sign.SANCTIONED_NAME: Weight(95, "the name is the agent's own; another could send it, where no address is pinned"),
    Sign.LISTED_HIGH: Weight(95, "the vendor's documentation or source names the host"),
    Sign.LISTED_MEDIUM: Weight(75, "a maintained list names the host"),
    Sign.LISTED_LOW: Weight(50, "one weak source names the host"),
    Sign.ALIAS: Weight(85, "the owner of the zone pointed the name there; an old record may outlive the tunnel"),
    Sign.NS_DELEGATION: Weight(85, "the zone is served by the provider: only a customer of it can set that up"),
    Sign.LIE: Weight(80, "nobody sends a sanctioned name elsewhere by mistake; a pin may be out of date"),
    Sign.TOLD_ADDRESS: Weight(60, "this client was just led to the address by the listed name; addresses are shared"),
    Sign.SANCTIONED_ADDRESS: Weight(60, "this client was just led to the address by the sanctioned name"),
    Sign.PINNED_ADDRESS: Weight(
        80, "the policy names the address for this service; who answers there is not to be seen"
    ),
    Sign.PROTOCOL_AGREES: Weight(60, "the flow speaks the protocol of the service's agents"),
    Sign.AUXILIARY_BESIDE: Weight(45, "only agents fetch updates or revocation lists; not which flow is theirs"),
    Sign.PROVIDER_ADDRESS: Weight(42, "names of agents resolve to the address; its other customers may share it"),
    Sign.HEARTBEAT: Weight(25, "idle agents keep a steady beat; so do other long connections"),
    Sign.ANSWER_AGREES: Weight(20, "the look-up and the flow tell the same story"),
    Sign.AGENT_HELLO: Weight(15, "a known agent says hello like this; so does every program on the same TLS library"),
    Sign.NOT_ASKED: Weight(10, "somebody evades the resolver; so does every browser with DNS over HTTPS"),
    Sign.FALLBACK: Weight(5, "agents turn there when their names do not resolve; so do many others, for other reasons"),
    Sign.UNEXPECTED_ADDRESS: Weight(0, "answers are partial and regional: worth a sentence, no more"),
}
CAPS = {Outcome.SANCTIONED: 99, Outcome.UNSANCTIONED: 99, Outcome.SUSPICIOUS: 90, Outcome.UNKNOWN: 0}

# On an unlisted name, evidence that is weak by itself must reach this before anything is said.
ENOUGH_FOR_SUSPICION = 50

LISTED = {Trust.HIGH: Sign.LISTED_HIGH, Trust.MEDIUM: Sign.LISTED_MEDIUM, Trust.LOW: Sign.LISTED_LOW}


class Finding(Value, frozen=True):
    """One piece of evidence: its kind, and the reason that is told."""

    sign: Sign
    reason: Reason


def confidence(findings: Iterable[Finding], outcome: Outcome) -> int:
    """Return how sure `findings` together make us of `outcome`, 0 to 100."""
    doubt = 1.0
    for sign in {row.sign for row in findings}:
        doubt *= 1 - WEIGHTS[sign].weight / 100
    return min(round(100 * (1 - doubt)), CAPS[outcome])


def reasons(findings: Iterable[Finding]) -> tuple[Reason, ...]:
    """Return the reasons, the weightiest first; equals stay in their order."""
    return tuple(row.reason for row in sorted(findings, key=lambda row: -WEIGHTS[row.sign].weight))


def concluded(
    outcome: Outcome,
    rule: Rule,
    found: Sequence[Finding],
    *,
    service: str,
    name: str | None,
    role: Role = Role.AGENT,
    severity: Severity = Severity.INFORMATIONAL,
) -> Verdict:
    """Return the verdict that `rule` draws from `found`: as sure as it makes us, and for its reasons."""
    return Verdict(
        outcome,
        rule,
        service=service,
        role=role,
        severity=severity,
        confidence=confidence(found, outcome),
        reasons=reasons(found),
        dst_name=name,
    )


def alias_sign(trust: Trust) -> Sign:
    """Return the kind of an alias of a listed name: no surer than the list that holds it."""
    listed = LISTED[trust]
    return listed if WEIGHTS[listed].weight < WEIGHTS[Sign.ALIAS].weight else Sign.ALIAS
