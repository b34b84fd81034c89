"""Of which observations the rules could say anything: of few, so this cheap test comes before everything else."""

import ipaddress
from typing import Final

from rules.classification.naming import NAME_EVIDENCE
from rules.matching.names import ancestors
from rules.policy.ruleset import Ruleset
from rules.values.observation import ClientHello, Evidence, Observation

KNOWN_NAMES: Final = 65_536
# Members of enumerations, bound once: looking one up costs a multiple.
_ALPN: Final = Evidence.ALPN
_JA4: Final = Evidence.JA4
_ALIAS_OR_NAME: Final = NAME_EVIDENCE | {Evidence.DNS_CNAME}


class Interest:
    """The names, protocols and places that `ruleset` speaks of, expired sanctions too."""

    def __init__(self, ruleset: Ruleset) -> None:
        self.ruleset = ruleset
        self._catalogue = ruleset.catalogue
        self._sanctioned = frozenset([sanction.domain for sanction in ruleset.policy.sanctions])
        self._fallback_ends = frozenset([end for place in self._catalogue.by_fallback for end in _end(place)])
        self.fallback_addresses = sorted({address for address, _ in self._fallback_ends})  # packed
        self._names: dict[str, bool] = {}  # names come again and again

    def is_possible(self, observation: Observation, *, is_client_known: bool) -> bool:
        """Tell whether the rules could say more of `observation` than `UNKNOWN`, now or by what comes later.

        So of what may be a candidate (see `ingress`), and of the `fallbacks` of a client that is known to use a
        service. False is certain, True is not. Costs a look-up a name.
        """
        for row in observation.indicators:
            evidence = row.evidence
            if evidence in _ALIAS_OR_NAME:
                if self.has_name(row.value):
                    return True
            elif evidence is not _ALPN and evidence is not _JA4:  # a protocol of its own
                return True
        dns, hello = observation.dns, observation.hello
        if (dns is not None and dns.delegations) or (hello is not None and self._has_hello(hello)):
            return True
        for chain in observation.told:
            for name in chain:
                if self.has_name(name):
                    return True
        ends = observation.five_tuple
        return is_client_known and (ends.dst, ends.dst_port) in self._fallback_ends

    def _has_hello(self, hello: ClientHello) -> bool:
        if not hello.alpn:
            return hello.sni is not None
        return any(self.has_protocol(name) for name in hello.alpn)

    def has_protocol(self, name: str) -> bool:
        """Tell whether the rules speak of the ALPN protocol `name`."""
        return name in self._catalogue.by_alpn

    def has_name(self, name: str) -> bool:
        """Tell whether the rules speak of `name`, or of one that it is below."""
        known = self._names.get(name)
        if known is None:
            if len(self._names) >= KNOWN_NAMES:
                self._names.clear()
            known = self._names[name] = self._look_up(name)
        return known

    def ends(self) -> set[str]:
        """Return what a name that the rules speak of is, or is below (`rules.matching.matcher.NameTable.ends`)."""
        return {*self._catalogue.ends(), *self._catalogue.by_fallback, *self._sanctioned}

    def _look_up(self, name: str) -> bool:
        if name in self._catalogue.by_fallback or self._catalogue.match(name) is not None:
            return True
        return any(parent in self._sanctioned for parent in ancestors(name))


def _end(place: str) -> list[tuple[bytes, int]]:
    """Return address and port that a fallback stands for, nothing for a name."""
    host, _, port = place.rpartition(":")
    try:
        return [(ipaddress.ip_address(host).packed, int(port))]
    except ValueError:
        return []
