"""Somebody else's custom ingress: an agent that dials a name which no list holds.

No single sign says so. A flow to an unlisted name whose hello is that of a known agent, without ALPN, is a candidate;
what its client did beside it adds to that (`rules.evidence`).
"""

from rules.catalogue import Catalogue, Service
from rules.evidence import ENOUGH_FOR_SUSPICION, Finding, Sign, confidence, reasons
from rules.observation import BesideKind, Evidence, NameSource, Observation
from rules.verdict import Outcome, Reason, Role, Verdict


def is_candidate(observation: Observation, catalogue: Catalogue) -> bool:
    """Tell whether a flow says hello to some name as a known agent does; whether that is listed was looked at before.

    Costs two look-ups.
    """
    hello = observation.hello
    return hello is not None and hello.sni is not None and not hello.alpn and hello.ja4 in catalogue.by_ja4


def find_ingress(observation: Observation, catalogue: Catalogue) -> Verdict | None:
    """Return the verdict on a flow to an unlisted name, None while there is too little evidence."""
    hello = observation.hello
    if hello is None or not hello.sni or not observation.beside or not is_candidate(observation, catalogue):
        return None
    service = catalogue.by_ja4[hello.ja4]
    found = _auxiliary(observation, service)
    detail = f"the hello without ALPN is that of {service.short_name}'s agents"
    found.append(Finding(Sign.AGENT_HELLO, Reason(Evidence.JA4, hello.ja4, detail)))
    if observation.name_source is NameSource.NOT_ASKED:
        detail = f"the client asks resolvers seen here, yet never asked them for {hello.sni}"
        found.append(Finding(Sign.NOT_ASKED, Reason(Evidence.DNS_QUERY, hello.sni, detail)))
    sure = confidence(found, Outcome.SUSPICIOUS)
    if sure < ENOUGH_FOR_SUSPICION:
        return None
    return Verdict(
        Outcome.SUSPICIOUS,
        service=service.id,
        role=Role.AGENT,
        confidence=sure,
        reasons=reasons(found),
        dst_name=hello.sni,
    )


def _auxiliary(observation: Observation, service: Service) -> list[Finding]:
    """Return the auxiliary look-ups of this client that no known agent of `service` beside it explains."""
    beside = [row for row in observation.beside if row.service == service.id]
    names = [row.name for row in beside if row.kind is BesideKind.AUXILIARY]
    if not names or any(row.kind is not BesideKind.AUXILIARY for row in beside):
        return []
    detail = f"the same client used {names[0]}, as agents of {service.short_name} do, and no known agent name"
    return [Finding(Sign.AUXILIARY_BESIDE, Reason(Evidence.DNS_QUERY, names[0], detail))]
