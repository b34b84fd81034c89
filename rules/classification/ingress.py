"""Somebody else's custom ingress: an agent that dials a name which no list holds.

Only a zone that its owner delegated to the service says so by itself. Everything else adds up (see `evidence`): how the
flow says hello, where it goes, how it beats while idle, and what its client did beside it.
"""

from collections.abc import Iterable
from typing import Final

from rules.catalogue.catalogue import Catalogue
from rules.catalogue.service import Service
from rules.classification.evidence import ENOUGH_FOR_SUSPICION, Finding, Sign, concluded, confidence
from rules.classification.tells import ssh_banner
from rules.values.event import address_text
from rules.values.observation import BesideKind, Evidence, NameSource, Observation
from rules.values.verdict import Outcome, Reason, Rule, Verdict

BEATS_ENOUGH: Final = 6  # a minute
_NAMES: Final = frozenset((Evidence.TLS_SNI, Evidence.QUIC_SNI, Evidence.HTTP_HOST))


def is_candidate(observation: Observation) -> bool:
    """Tell whether more evidence could make a flow that no list knows an agent's: no ALPN, or SSH.

    Costs a few comparisons.
    """
    hello = observation.hello
    if hello is not None:
        return hello.sni is not None and not hello.alpn
    return observation.dns is None and ssh_banner(observation) is not None


def ingress_name(observation: Observation) -> str | None:
    """Return the name that a flow goes to: what it says, else what led this client to the address; None: an address."""
    said = [row.value for row in observation.indicators if row.evidence in _NAMES]
    name = said[-1] if said else next((chain[0] for chain in observation.told), "")
    return name if name and not name[-1].isdigit() and ":" not in name else None


def find_ingress(observation: Observation, catalogue: Catalogue, *, is_shared: Iterable[str] = ()) -> Verdict | None:
    """Return the verdict on what goes to an unlisted name, None while there is too little evidence.

    At addresses of the services `is_shared` sanctioned agents are expected, too: such an address says nothing of a
    flow without a name.
    """
    if (found := _delegated(observation, catalogue)) is not None:
        return found
    if not is_candidate(observation):
        return None
    services = _services(observation, catalogue, is_shared)
    verdicts = [_adding_up(observation, catalogue, service, is_shared) for service in services]
    return max((row for row in verdicts if row is not None), key=lambda row: row.confidence, default=None)


def _delegated(observation: Observation, catalogue: Catalogue) -> Verdict | None:
    if observation.delegation is None:
        return None
    zone, server = observation.delegation
    service = catalogue.zone_server(server)
    name = observation.dns.qname if observation.dns else ingress_name(observation)
    if service is None or name is None:
        return None
    detail = f"the zone {zone} of {name} is served by {service.short_name}: somebody's own ingress"
    found = [Finding(Sign.NS_DELEGATION, Reason(Evidence.NS_DELEGATION, server, detail))]
    if observation.dns is None:
        found += _signs(observation, catalogue, service, ())
    return concluded(Outcome.UNSANCTIONED, Rule.DELEGATED_ZONE, found, service=service.id, name=name)


def _adding_up(
    observation: Observation, catalogue: Catalogue, service: Service, is_shared: Iterable[str]
) -> Verdict | None:
    found = _signs(observation, catalogue, service, is_shared)
    if confidence(found, Outcome.SUSPICIOUS) < ENOUGH_FOR_SUSPICION:
        return None
    return concluded(Outcome.SUSPICIOUS, Rule.SIGNS, found, service=service.id, name=ingress_name(observation))


def _services(observation: Observation, catalogue: Catalogue, is_shared: Iterable[str]) -> list[Service]:
    """Return the services that the flow's hello or address points to."""
    found = []
    if observation.hello is not None and observation.hello.ja4 in catalogue.by_ja4:
        found.append(catalogue.by_ja4[observation.hello.ja4])
    if observation.agent_address is not None:
        service = catalogue.services.get(observation.agent_address[0])
        if service is not None and _address(observation, service, is_shared):
            found.append(service)
    return found


def _signs(observation: Observation, catalogue: Catalogue, service: Service, is_shared: Iterable[str]) -> list[Finding]:
    """Return what speaks for an agent of `service`."""
    return [
        *_address(observation, service, is_shared),
        *_protocol(observation, catalogue, service),
        *_auxiliary(observation, service),
        *_beats(observation, service),
        *_not_asked(observation),
    ]


def _address(observation: Observation, service: Service, is_shared: Iterable[str]) -> list[Finding]:
    known = observation.agent_address
    if known is None or known[0] != service.id or (service.id in is_shared and ingress_name(observation) is None):
        return []
    listed = f"{known[1]}, a name of {service.short_name}'s agents, resolves to this address"
    detail = listed if known[1] else f"{service.short_name} publishes this address for its agents"
    address = address_text(observation.five_tuple.dst)
    return [Finding(Sign.PROVIDER_ADDRESS, Reason(Evidence.ADDRESS, address, detail))]


def _protocol(observation: Observation, catalogue: Catalogue, service: Service) -> list[Finding]:
    hello = observation.hello
    if hello is not None:
        if hello.alpn or catalogue.by_ja4.get(hello.ja4) is not service:
            return []
        detail = f"the hello without ALPN is that of {service.short_name}'s agents"
        return [Finding(Sign.AGENT_HELLO, Reason(Evidence.JA4, hello.ja4, detail))]
    banner = ssh_banner(observation)
    if banner is None or not service.ssh:
        return []
    reason = Reason(Evidence.SSH_BANNER, banner, f"agents of {service.short_name} speak SSH")
    return [Finding(Sign.PROTOCOL_AGREES, reason)]


def _auxiliary(observation: Observation, service: Service) -> list[Finding]:
    """Return the auxiliary look-ups of this client that no known agent of `service` beside it explains."""
    beside = [row for row in observation.beside if row.service == service.id]
    names = [row.name for row in beside if row.kind is BesideKind.AUXILIARY]
    if not names or any(row.kind in (BesideKind.AGENT, BesideKind.SANCTIONED) for row in beside):
        return []
    detail = f"the same client used {names[0]}, as agents of {service.short_name} do, and no known agent name"
    return [Finding(Sign.AUXILIARY_BESIDE, Reason(Evidence.DNS_QUERY, names[0], detail))]


def _beats(observation: Observation, service: Service) -> list[Finding]:
    if observation.beats < BEATS_ENOUGH:
        return []
    detail = f"little goes both ways every 10 s, as an idle agent of {service.short_name} does"
    return [Finding(Sign.HEARTBEAT, Reason(Evidence.HEARTBEAT, "every 10 s", detail))]


def _not_asked(observation: Observation) -> list[Finding]:
    hello = observation.hello
    if hello is None or not hello.sni or observation.name_source is not NameSource.NOT_ASKED:
        return []
    detail = f"the client asks resolvers seen here, yet never asked them for {hello.sni}"
    return [Finding(Sign.NOT_ASKED, Reason(Evidence.DNS_QUERY, hello.sni, detail))]
