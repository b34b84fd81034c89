"""What other rules would say of an event that is stored.

An event holds the names, addresses and signs that decided, not all that the sensor saw. So what the rules in force and
the proposed ones say of what is left is compared: where they agree, the stored verdict stays.
"""

import ipaddress
from functools import lru_cache

import msgspec

from rules.classification.classify import classify
from rules.classification.naming import NAME_EVIDENCE
from rules.matching.names import is_address
from rules.policy.ruleset import Ruleset
from rules.values.event import Event, source_of
from rules.values.observation import ClientHello, DnsTransaction, Evidence, FiveTuple, Indicator, Observation
from rules.values.verdict import Decision, Outcome, Severity

_KEPT = 1024  # addresses: those of a preview come again and again
_SIGNS = NAME_EVIDENCE | {Evidence.SSH_BANNER, Evidence.PROTOCOL, Evidence.ALPN, Evidence.JA4}


class Judgement(msgspec.Struct, frozen=True):
    """What is said of an event: `unknown` is not reported at all."""

    outcome: Outcome
    severity: Severity
    exception_id: str | None = None


def judge_again(event: Event, rules: Ruleset, proposed: Ruleset, now_ns: int) -> tuple[Judgement, Judgement]:
    """Return what is said of `event`, and what would be if the same were seen at `now_ns` under the proposed rules."""
    seen = msgspec.structs.replace(event, observed_at_ns=now_ns)
    who = source_of(seen)
    observation = _rebuilt(seen)
    said, would_say = (classify(observation, each.policy, each.catalogue) for each in (rules, proposed))
    held_by, would_hold = (each.exception_for(seen, who) for each in (rules, proposed))
    before = Judgement(event.verdict, event.severity, held_by)
    if (said.outcome, said.severity) != (would_say.outcome, would_say.severity):
        return before, Judgement(would_say.outcome, would_say.severity, would_hold)
    if _is_ignored(event, proposed) and not _is_ignored(event, rules):
        return before, Judgement(Outcome.UNKNOWN, Severity.INFORMATIONAL)
    return before, msgspec.structs.replace(before, exception_id=would_hold)


def _is_ignored(event: Event, rules: Ruleset) -> bool:
    service = rules.catalogue.services.get(event.service or "")
    is_ours = event.verdict is Outcome.SANCTIONED
    return service is not None and not is_ours and rules.policy.decide(service) is Decision.IGNORE


def _rebuilt(event: Event) -> Observation:
    """Return what is left of the observation behind an event."""
    named = [(Evidence.DNS_QUERY, event.dns_query), (Evidence.TLS_SNI, event.tls_sni)]
    signs = [(Evidence(row.evidence), row.indicator) for row in event.reasons if row.evidence in _SIGNS]
    indicators = dict.fromkeys(Indicator(evidence, text) for evidence, text in (*named, *signs) if text)
    return Observation(
        key=0,
        revision=1,
        observed_at_ns=event.observed_at_ns,
        kind=event.kind,
        five_tuple=FiveTuple(
            event.transport, _packed(event.src_ip), event.src_port, _packed(event.dst_ip), event.dst_port
        ),
        indicators=tuple(indicators),
        state=event.state,
        dns=_dns(event),
        hello=ClientHello(event.tls_sni, event.alpn, (), event.ja4) if event.ja4 else None,
        told=_told(event),
        user=event.src_user,
    )


def _dns(event: Event) -> DnsTransaction | None:
    if not event.dns_query:
        return None
    addresses = tuple(_packed(text) for text in event.dns_answers if is_address(text))
    cnames = tuple(text for text in event.dns_answers if not is_address(text))
    return DnsTransaction(event.dns_query, event.dns_type or 0, event.dns_rcode, cnames, addresses)


def _told(event: Event) -> tuple[tuple[str, ...], ...]:
    """Return the chain of names that led the client to the address of a flow, as far as reasons tell it."""
    aliases = [row.indicator for row in event.reasons if row.evidence == Evidence.DNS_CNAME]
    is_led = aliases or any(row.evidence == Evidence.ADDRESS for row in event.reasons)
    return ((event.dst_name, *aliases),) if is_led and event.dst_name and not event.dns_query else ()


@lru_cache(_KEPT)
def _packed(text: str) -> bytes:
    return ipaddress.ip_address(text).packed
